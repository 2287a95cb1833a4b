// SPDX-License-Identifier: GPL-2.0
/*
 * Socket activation: a launcher binds, and the service that it starts, maybe
 * much later, finds the socket as descriptor 3. What clients asked before is
 * answered, and a launcher that keeps the socket can start the service again.
 */
#include "sptest.h"

#include <fcntl.h>
#include <signal.h>

/* Becomes the service, with the socket given as systemd does it. */
static void become_service(int s)
{
	must(setenv("LISTEN_PID", number(getpid()), 1));
	must(setenv("LISTEN_FDS", "1", 1));
	/* A duplicate is not closed by exec; on itself dup2() does nothing. */
	if (s != 3)
		must(dup2(s, 3));
	else
		must(fcntl(s, F_SETFD, 0));
	program_exec("spactivated", NULL);
}

static pid_t start_service(int s)
{
	pid_t pid = (pid_t)must(fork());

	if (pid == 0)
		become_service(s);
	return pid;
}

/* As launchers have it, so that nothing else they start gets it. */
static int launcher_socket(struct addr *addr)
{
	int s = sp_open(SOCK_REP | SOCK_CLOEXEC);

	*addr = sp_bind(s, AF_INET);
	return s;
}

TEST(requests_from_before_are_served)
{
	enum { CLIENTS = 4 };
	struct addr addr;
	int s = launcher_socket(&addr), req[CLIENTS], i;
	pid_t pid;

	for (i = 0; i < CLIENTS; i++) {
		req[i] = sp_dialer(SOCK_REQ, &addr);
		sp_send(req[i], LIT("early"));
	}
	/* They have arrived; there is no service yet. */
	await_counter(s, sp_rx_queued, CLIENTS * 5);
	pid = start_service(s);
	close(s);
	for (i = 0; i < CLIENTS; i++)
		sp_expect(req[i], LIT("served early"));
	sp_send(req[0], LIT("late"));
	sp_expect(req[0], LIT("served late"));
	sp_send(req[0], LIT("stop"));
	sp_expect(req[0], LIT("served stop"));
	child_join(pid);
	/* The last who had it is gone. */
	await_peers(req[0], 0);
}

TEST(started_by_the_first_request)
{
	struct addr addr;
	int s = launcher_socket(&addr), req = sp_dialer(SOCK_REQ, &addr);
	pid_t pid;

	await_peers(s, 1);
	expect_not_in(s);
	sp_send(req, LIT("stop"));
	await_in(s);
	pid = start_service(s);
	sp_expect(req, LIT("served stop"));
	child_join(pid);
	EXPECT_EQ(1, counter(s, sp_tx_msgs));
}

TEST(the_launcher_may_die)
{
	struct addr addr = nowhere(AF_INET);
	struct meet up, go;
	pid_t launcher;
	int s, req;

	meet_init(&up);
	meet_init(&go);
	launcher = (pid_t)must(fork());
	if (launcher == 0) {
		s = sp_open(SOCK_REP);
		must(bind(s, &addr.sa, addr.len));
		meet_tell(&up);
		await_in(s);
		start_service(s);
		meet_tell(&up);
		pause();
	}
	meet_await(&up);
	req = sp_dialer(SOCK_REQ, &addr);
	sp_send(req, LIT("one"));
	meet_await(&up);
	must(kill(launcher, SIGKILL));
	EXPECT_EQ(SIGKILL, WTERMSIG(child_status(launcher)));
	sp_expect(req, LIT("served one"));
	sp_send(req, LIT("two"));
	sp_expect(req, LIT("served two"));
	sp_send(req, LIT("stop"));
	sp_expect(req, LIT("served stop"));
	await_peers(req, 0);
}

/*
 * The launcher keeps the socket: nothing is lost between two services, not even
 * the connections.
 */
TEST(served_again_after_a_restart)
{
	struct addr addr;
	int s = launcher_socket(&addr), req = sp_dialer(SOCK_REQ, &addr), i;

	for (i = 0; i < 3; i++) {
		pid_t pid = start_service(s);

		sp_send(req, LIT("hello"));
		sp_expect(req, LIT("served hello"));
		must(kill(pid, SIGKILL));
		EXPECT_EQ(SIGKILL, WTERMSIG(child_status(pid)));
		expect_events(0, s);
		EXPECT_EQ(1, sp_get(req, SP_PEERS));
	}
	EXPECT_EQ(1, counter(s, sp_pipe_ups));
	EXPECT_EQ(3, counter(s, sp_rx_msgs));
}

SP_TEST_MAIN
