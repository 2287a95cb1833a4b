// SPDX-License-Identifier: GPL-2.0

#include <linux/spinlock.h>

#include "helpers.h"

/*
 * Tells whether it has disabled bottom halves. Where they are disabled anyway there is
 * no need to, and doing it costs more than the lock.
 */
bool sp_helper_spin_lock_bh(spinlock_t *lock)
{
	if (softirq_count()) {
		spin_lock(lock);
		return false;
	}
	spin_lock_bh(lock);
	return true;
}

void sp_helper_spin_unlock_bh(spinlock_t *lock, bool disabled)
{
	if (disabled)
		spin_unlock_bh(lock);
	else
		spin_unlock(lock);
}

int sp_helper_spin_trylock_bh(spinlock_t *lock)
{
	return spin_trylock_bh(lock);
}
