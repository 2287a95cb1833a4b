// SPDX-License-Identifier: GPL-2.0
/*
 * One REP that several processes use: each answers the request that it took
 * itself, and whoever cannot know what to answer is refused. No client ever
 * gets what was meant for another.
 */
#include "sptest.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* Clients 1, 2, ..., who ask in this order: "Q1", "Q2", ... */
enum { ASKERS = 4 };

struct scene {
	int rep, req[ASKERS + 1];
};

static void ask(struct scene *s, int nth)
{
	const char q[] = { 'Q', (char)('0' + nth) };

	sp_send(s->req[nth], q, 2);
	await_in(s->rep);
}

static void scene_init(struct scene *s)
{
	struct addr addr;
	int i;

	s->rep = sp_listener(SOCK_REP, &addr);
	for (i = 1; i <= ASKERS; i++) {
		s->req[i] = sp_dialer(SOCK_REQ, &addr);
		sp_set(s->req[i], SP_REQ_RESEND_IVL, 0);
	}
	await_peers(s->rep, ASKERS);
}

static void take(struct scene *s, int nth)
{
	const char q[] = { 'Q', (char)('0' + nth) };

	sp_expect(s->rep, q, 2);
}

/* To client @nth, as far as the sender knows. */
static void reply(struct scene *s, int nth)
{
	const char r[] = { 'R', (char)('0' + nth) };

	expect_out(s->rep);
	sp_send(s->rep, r, 2);
}

static void may_not_reply(struct scene *s)
{
	expect_not_out(s->rep);
	must_fail(EBADFD, send(s->rep, "to whom?", 8, MSG_NOSIGNAL));
}

static void gets(struct scene *s, int nth)
{
	const char r[] = { 'R', (char)('0' + nth) };

	sp_expect(s->req[nth], r, 2);
}

static void gets_nothing(struct scene *s, int nth)
{
	sp_expect_nothing(s->req[nth]);
}

#define ask(s, nth) AT(ask((s), (nth)))
#define take(s, nth) AT(take((s), (nth)))
#define reply(s, nth) AT(reply((s), (nth)))
#define may_not_reply(s) AT(may_not_reply((s)))
#define gets(s, nth) AT(gets((s), (nth)))
#define gets_nothing(s, nth) AT(gets_nothing((s), (nth)))

/* A process that goes on when it is told to, a step at a time. */
struct other {
	struct meet go, done;
	pid_t pid;
};

static bool other_is_child(struct other *o)
{
	meet_init(&o->go);
	meet_init(&o->done);
	o->pid = (pid_t)must(fork());
	return o->pid == 0;
}

static void step(struct other *o)
{
	meet_tell(&o->go);
	meet_await(&o->done);
}

#define step(o) AT(step((o)))
/* In the child: the step is over, and where the next one begins. */
static void turn(struct other *o)
{
	meet_tell(&o->done);
	meet_await(&o->go);
}

#define turn(o) AT(turn((o)))

static void over(struct other *o)
{
	meet_tell(&o->done);
	_exit(0);
}

/*
 * The classic server: workers are forked, and each receives, works and sends.
 */
enum { WORKERS = 3, CLIENTS = 9, MOST = 60 };

struct served {
	int wrong, by[WORKERS];
};

static struct served *served;

static void serve(int rep, int worker)
{
	char buf[64];
	ssize_t n;

	srand((unsigned int)worker + 1);
	for (;;) {
		n = must(recv(rep, buf, sizeof(buf), 0));
		/* It works, and the others take requests and answer theirs. */
		usleep((useconds_t)(rand() % 1500));
		sp_send(rep, buf, (size_t)n);
		__atomic_fetch_add(&served->by[worker], 1, __ATOMIC_RELAXED);
	}
}

struct client {
	struct task task;
	int s, who, each;
};

static void be_served(void *arg)
{
	struct client *c = arg;
	char mine[64], buf[64];
	int i, len;

	for (i = 0; i < c->each; i++) {
		len = snprintf(mine, sizeof(mine), "client %d, request %d",
			       c->who, i);
		sp_send(c->s, mine, (size_t)len);
		must_be(recv(c->s, buf, sizeof(buf), 0) > 0);
		if (strncmp(buf, mine, (size_t)len))
			__atomic_fetch_add(&served->wrong, 1, __ATOMIC_RELAXED);
	}
}

TEST(forked_workers_answer_their_own_clients)
{
	static struct client client[CLIENTS];
	pid_t pid[WORKERS];
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr), each = at_speed(MOST), i;
	int all = 0;

	served = mmap(NULL, sizeof(*served), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must_be(served != MAP_FAILED);
	for (i = 0; i < WORKERS; i++) {
		pid[i] = (pid_t)must(fork());
		if (pid[i] == 0) {
			set_timeout(rep, SO_RCVTIMEO, 0);
			serve(rep, i);
		}
	}
	for (i = 0; i < CLIENTS; i++) {
		client[i] = (struct client){ .who = i, .each = each };
		client[i].s = sp_dialer(SOCK_REQ, &addr);
		task_start(&client[i].task, be_served, &client[i]);
	}
	for (i = 0; i < CLIENTS; i++)
		task_join(&client[i].task);
	EXPECT_EQ(0, served->wrong);
	for (i = 0; i < WORKERS; i++) {
		must(kill(pid[i], SIGKILL));
		child_status(pid[i]);
		EXPECT_LT(0, served->by[i]);
		all += served->by[i];
	}
	TH_LOG("%d requests, %d wrong replies", CLIENTS * each, served->wrong);
	/* One that is killed may not have counted its last. */
	EXPECT_LE(CLIENTS * each - WORKERS, all);
	EXPECT_EQ(CLIENTS * each, counter(rep, sp_tx_msgs));
}

TEST(each_process_has_one_in_hand)
{
	struct scene s;
	struct other o;

	scene_init(&s);
	if (other_is_child(&o)) {
		meet_await(&o.go);
		take(&s, 2);
		turn(&o);
		reply(&s, 2);
		may_not_reply(&s);
		turn(&o);
		may_not_reply(&s);
		over(&o);
	}
	ask(&s, 1);
	take(&s, 1);
	ask(&s, 2);
	step(&o);
	expect_out(s.rep);
	step(&o);
	gets(&s, 2);
	gets_nothing(&s, 1);
	reply(&s, 1);
	gets(&s, 1);
	may_not_reply(&s);
	/* The last of them, and not the other's. */
	ask(&s, 3);
	take(&s, 3);
	step(&o);
	reply(&s, 3);
	gets(&s, 3);
	child_join(o.pid);
}

TEST(killed_process_s_request_is_forgotten_and_asked_again)
{
	static const char q1[] = "\x80\0\0\1Q1", r1[] = "\x80\0\0\1R1";
	struct scene s;
	struct other victim, bystander;
	struct addr addr;
	int peer;

	scene_init(&s);
	addr = sp_bind(s.rep, AF_INET);
	peer = raw_peer(SOCK_REQ, &addr);
	if (other_is_child(&victim)) {
		meet_await(&victim.go);
		take(&s, 1);
		turn(&victim);
		over(&victim);
	}
	if (other_is_child(&bystander)) {
		meet_await(&bystander.go);
		may_not_reply(&s);
		take(&s, 1);
		reply(&s, 1);
		over(&bystander);
	}
	raw_frame(peer, LIT(q1));
	await_in(s.rep);
	step(&victim);
	ask(&s, 2);
	take(&s, 2);
	must(kill(victim.pid, SIGKILL));
	EXPECT_EQ(SIGKILL, WTERMSIG(child_status(victim.pid)));
	reply(&s, 2);
	gets(&s, 2);
	may_not_reply(&s);
	raw_frame(peer, LIT(q1));
	await_in(s.rep);
	step(&bystander);
	raw_expect_frame(peer, LIT(r1));
	child_join(bystander.pid);
}

/* Whichever thread calls execve(), it is the process that goes on. */
static void exec_main(void *arg)
{
	program_exec("spheir", number(*(int *)arg), "send", "R1", "expect",
		     "Q3", "send", "R3", NULL);
}

FIXTURE(exec)
{
	char unused;
};

FIXTURE_VARIANT(exec)
{
	bool by_thread;
};

FIXTURE_VARIANT_ADD(exec, by_the_leader) { .by_thread = false };
FIXTURE_VARIANT_ADD(exec, by_another_thread) { .by_thread = true };

FIXTURE_SETUP(exec)
{
}

FIXTURE_TEARDOWN(exec)
{
}

TEST_F(exec, keeps_the_request_in_hand)
{
	struct scene s;
	struct other o;
	struct task task;

	scene_init(&s);
	if (other_is_child(&o)) {
		meet_await(&o.go);
		take(&s, 1);
		turn(&o);
		if (!variant->by_thread)
			exec_main(&s.rep);
		task_start(&task, exec_main, &s.rep);
		for (;;)
			pause();
	}
	ask(&s, 1);
	step(&o);
	ask(&s, 2);
	take(&s, 2);
	meet_tell(&o.go);
	gets(&s, 1);
	gets_nothing(&s, 2);
	expect_out(s.rep);
	sp_send(s.req[3], LIT("Q3"));
	gets(&s, 3);
	reply(&s, 2);
	gets(&s, 2);
	child_join(o.pid);
}

/*
 * A process for each request: the child answers what its parent had received
 * when it was started, and the parent does not answer it once more.
 */
TEST(child_answers_for_its_parent)
{
	struct scene s;
	struct other o;
	int i;

	scene_init(&s);
	for (i = 1; i <= ASKERS; i++) {
		ask(&s, i);
		take(&s, i);
		if (other_is_child(&o)) {
			reply(&s, i);
			may_not_reply(&s);
			turn(&o);
			may_not_reply(&s);
			over(&o);
		}
		meet_await(&o.done);
		gets(&s, i);
		may_not_reply(&s);
		step(&o);
		child_join(o.pid);
	}
}

TEST(child_whose_parent_has_gone_on_is_refused)
{
	struct scene s;
	struct other old, new;

	scene_init(&s);
	ask(&s, 1);
	take(&s, 1);
	reply(&s, 1);
	gets(&s, 1);
	ask(&s, 2);
	take(&s, 2);
	if (other_is_child(&old)) {
		expect_out(s.rep);
		turn(&old);
		may_not_reply(&s);
		turn(&old);
		may_not_reply(&s);
		/* Once it receives it is as good as any. */
		take(&s, 4);
		turn(&old);
		reply(&s, 4);
		over(&old);
	}
	meet_await(&old.done);
	ask(&s, 3);
	take(&s, 3);
	step(&old);
	if (other_is_child(&new)) {
		meet_await(&new.go);
		reply(&s, 3);
		may_not_reply(&s);
		over(&new);
	}
	ask(&s, 4);
	step(&old);
	step(&new);
	gets(&s, 3);
	may_not_reply(&s);
	step(&old);
	gets(&s, 4);
	gets_nothing(&s, 2);
	child_join(old.pid);
	child_join(new.pid);
}

/* A process that another thread starts works for what that thread knows. */
struct forker {
	struct task task;
	struct scene *s;
	struct meet taken, go;
	struct other child;
};

static void fork_late(void *arg)
{
	struct forker *f = arg;

	take(f->s, 1);
	meet_tell(&f->taken);
	meet_await(&f->go);
	if (other_is_child(&f->child)) {
		may_not_reply(f->s);
		over(&f->child);
	}
	meet_await(&f->child.done);
	child_join(f->child.pid);
	may_not_reply(f->s);
}

TEST(child_of_a_thread_whose_request_was_replaced_is_refused)
{
	struct forker f;
	struct scene s;

	scene_init(&s);
	f.s = &s;
	meet_init(&f.taken);
	meet_init(&f.go);
	ask(&s, 1);
	task_start(&f.task, fork_late, &f);
	meet_await(&f.taken);
	ask(&s, 2);
	take(&s, 2);
	meet_tell(&f.go);
	task_join(&f.task);
	reply(&s, 2);
	gets(&s, 2);
	gets_nothing(&s, 1);
}

/* Who adopts an orphan is not who started it. */
TEST(orphan_is_refused_what_its_new_parent_has)
{
	struct scene s;
	struct other m, *c;

	scene_init(&s);
	c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must_be(c != MAP_FAILED);
	must(prctl(PR_SET_CHILD_SUBREAPER, 1));
	meet_init(&c->go);
	meet_init(&c->done);
	if (other_is_child(&m)) {
		meet_await(&m.go);
		take(&s, 2);
		if (fork() == 0) {
			meet_await(&c->go);
			must_eq(getppid(), c->pid);
			may_not_reply(&s);
			over(c);
		}
		over(&m);
	}
	c->pid = getpid();
	ask(&s, 1);
	take(&s, 1);
	ask(&s, 2);
	step(&m);
	child_join(m.pid);
	step(c);
	reply(&s, 1);
	gets(&s, 1);
	gets_nothing(&s, 2);
	must(wait(NULL));
}

/* One that was there before takes over only what cannot be anything else. */
TEST(process_that_never_received_takes_over_the_first_request_only)
{
	struct scene s;
	struct other one, two;

	scene_init(&s);
	if (other_is_child(&one)) {
		may_not_reply(&s);
		turn(&one);
		reply(&s, 1);
		may_not_reply(&s);
		over(&one);
	}
	if (other_is_child(&two)) {
		may_not_reply(&s);
		turn(&two);
		expect_out(s.rep);
		turn(&two);
		may_not_reply(&s);
		turn(&two);
		may_not_reply(&s);
		over(&two);
	}
	meet_await(&one.done);
	meet_await(&two.done);
	ask(&s, 1);
	take(&s, 1);
	step(&two);
	step(&one);
	gets(&s, 1);
	may_not_reply(&s);
	step(&two);
	ask(&s, 2);
	take(&s, 2);
	step(&two);
	reply(&s, 2);
	gets(&s, 2);
	child_join(one.pid);
	child_join(two.pid);
}

static void poll_in_vain(int epfd)
{
	struct epoll_event e;

	must_eq(0, epoll_wait(epfd, &e, 1, 0));
}

static void poll_in_time(int epfd)
{
	struct epoll_event e;

	must_eq(1, epoll_wait(epfd, &e, 1, PATIENCE_MS));
	must_eq(EPOLLOUT, e.events);
}

static int epoll_out(int s)
{
	struct epoll_event e = { .events = EPOLLOUT };
	int epfd = (int)must(epoll_create1(0));

	must(epoll_ctl(epfd, EPOLL_CTL_ADD, s, &e));
	return epfd;
}

struct await_out {
	struct task task;
	int epfd;
};

static void await_out_main(void *arg)
{
	struct await_out *w = arg;

	poll_in_time(w->epfd);
}

TEST(pollout_is_the_callers)
{
	struct await_out waiter;
	struct scene s;
	struct other o;

	scene_init(&s);
	if (other_is_child(&o)) {
		int epfd = epoll_out(s.rep);

		meet_await(&o.go);
		take(&s, 1);
		expect_out(s.rep);
		poll_in_time(epfd);
		turn(&o);
		expect_out(s.rep);
		reply(&s, 1);
		poll_in_vain(epfd);
		over(&o);
	}
	waiter.epfd = epoll_out(s.rep);
	ask(&s, 1);
	step(&o);
	/* The only one, which we could answer; not so once there are two. */
	expect_out(s.rep);
	ask(&s, 2);
	take(&s, 2);
	reply(&s, 2);
	gets(&s, 2);
	expect_not_out(s.rep);
	poll_in_vain(waiter.epfd);
	/* Who waits is woken when a thread of his takes one. */
	task_start(&waiter.task, await_out_main, &waiter);
	task_await_asleep(&waiter.task);
	ask(&s, 3);
	take(&s, 3);
	task_join(&waiter.task);
	step(&o);
	gets(&s, 1);
	poll_in_time(waiter.epfd);
	reply(&s, 3);
	poll_in_vain(waiter.epfd);
	gets(&s, 3);
	child_join(o.pid);
}

SP_TEST_MAIN
