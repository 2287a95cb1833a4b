/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Executing the programs of tests/helpers/, which are built beside the tests.
 */
#ifndef SP_TESTS_PROGRAM_H
#define SP_TESTS_PROGRAM_H

#include "must.h"

/*
 * Becomes the helper program of this name, with these arguments after its
 * name; the last one is NULL. Does not return.
 */
#define program_exec(name, ...) AT(program_exec_((name), __VA_ARGS__))
__attribute__((noreturn, sentinel))
void program_exec_(const char *name, ...);

/* A number as an argument. Not to be freed: the process is about to change. */
const char *number(long n);

#endif
