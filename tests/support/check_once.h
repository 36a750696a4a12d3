/* SPDX-License-Identifier: MIT */
/*
 * check_once.h - Check, with one note for assertions that hold in a row
 *
 * Check writes a note of each assertion that holds to its parent process, to say
 * after which one a test crashed.  A test that looks at each of a million bytes
 * spends nearly all of its time on that.  The note of the place that the last one
 * was about says no more.
 */
#ifndef QCF_TEST_CHECK_ONCE_H
#define QCF_TEST_CHECK_ONCE_H

#include <check.h>

static inline void check_note(const char *file, int line)
{
	static _Thread_local const char *last_file;
	static _Thread_local int last_line;

	if (line == last_line && file == last_file)
		return;
	last_file = file;
	last_line = line;
	_mark_point(file, line);
}

#define _mark_point(file, line) check_note(file, line)

#endif
