// SPDX-License-Identifier: GPL-2.0

#include <linux/cred.h>
#include <net/sock.h>

#include "helpers.h"

const struct cred *sp_helper_current_cred(void)
{
	return get_current_cred();
}

void sp_helper_put_cred(const struct cred *cred)
{
	put_cred(cred);
}

/*
 * Sets an option on behalf of whom the credentials are. All that sock_setsockopt()
 * takes from the socket is its sock.
 */
int sp_helper_setsockopt(struct sock *sk, const struct cred *cred, int level, int name,
			 const void *value, size_t len)
{
	sockptr_t optval = KERNEL_SOCKPTR((void *)value);
	struct socket sock = { .sk = sk };
	const struct cred *old;
	int err;

	old = override_creds(cred);
	if (level == SOL_SOCKET)
		err = sock_setsockopt(&sock, level, name, optval, len);
	else
		err = READ_ONCE(sk->sk_prot)->setsockopt(sk, level, name, optval, len);
	revert_creds(old);
	return err;
}
