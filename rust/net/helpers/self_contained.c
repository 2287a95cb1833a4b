// SPDX-License-Identifier: GPL-2.0
/*
 * For a module that is linked with a kernel crate of its own. What that prints, it
 * gives to printk() as a fmt::Arguments, for %pA. The kernel's Rust code would take it
 * apart, but was compiled by another rustc, which may lay it out otherwise, or there
 * is no such code. So it is made text here, by the function of the module's own crate
 * that the kernel's has for %pA.
 */
#include <linux/minmax.h>
#include <linux/printk.h>
#include <linux/stdarg.h>
#include <linux/string.h>

char *rust_fmt_argument(char *buf, char *end, const void *arguments);
int sp_rust_printk(const char *format, ...);

/* The formats are the crate's: a level, then "%s: %pA", or "%pA" to continue a line. */
int sp_rust_printk(const char *format, ...)
{
	const char *name = NULL;
	char text[256];
	va_list values;

	va_start(values, format);
	if (strstr(format, "%s"))
		name = va_arg(values, const char *);
	/* Like snprintf(), it may return an end beyond what there was room for. */
	*min(rust_fmt_argument(text, text + sizeof(text) - 1, va_arg(values, const void *)),
	     text + sizeof(text) - 1) = '\0';
	va_end(values);
	if (name)
		return _printk("%.2s%s: %s", format, name, text);
	return _printk("%.2s%s", format, text);
}
