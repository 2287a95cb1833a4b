/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Failing loudly.
 *
 * The harness's ASSERT_* need a test at hand. Helpers, threads and children
 * have none, so they end the process instead, with a line that names the place
 * in the test that called them; the harness reports the abort as a failure.
 */
#ifndef SP_TESTS_MUST_H
#define SP_TESTS_MUST_H

/* Remembers, per thread, which line of a test is at work. */
void at(const char *file, int line);
#define AT(call) (at(__FILE__, __LINE__), (call))

__attribute__((noreturn, format(printf, 1, 2)))
void die(const char *fmt, ...);

/* The call succeeds: its result is passed on, -1 ends the test. */
#define must(call) AT(must_((call), #call))
long must_(long result, const char *call);

/* The call fails, with this errno and no other. */
#define must_fail(err, call) \
	(at(__FILE__, __LINE__), must_fail_((err), (call), #call))
void must_fail_(int err, long result, const char *call);

/* A condition; and one that shows its two integers when it does not hold. */
#define must_be(cond) AT((cond) ? (void)0 : die("not so: %s", #cond))
#define must_eq(expected, seen) \
	AT(must_eq_((expected), (seen), #expected, #seen))
void must_eq_(long long expected, long long seen, const char *expected_text,
	      const char *seen_text);

#endif
