/* SPDX-License-Identifier: MIT */
/*
 * Promise: text from an image, once cleaned, moves no cursor, starts no line, turns
 * no text round and is UTF-8; plain text of any script stays as it is.
 */
#include <errno.h>
#include <string.h>

#include "error.h"
#include "qcowfmt.h"
#include "unit.h"

static const struct {
	const char *text, *clean;
} table[] = {
	{ "", "" },
	{ "plain 100% text ~", "plain 100% text ~" },
	{ "n\xc3\xa4me \xe6\xbc\xa2 \xf0\x9f\x98\x80",
	  "n\xc3\xa4me \xe6\xbc\xa2 \xf0\x9f\x98\x80" },
	{ "\x1b[2J\r\n\t\x7f", "?[2J????" },
	/* ISO 8859 control characters, as UTF-8 and as bytes */
	{ "\xc2\x80\xc2\x9b\xc2\x9f\xc2\xa0", "??????\xc2\xa0" },
	{ "\x9b[0m", "?[0m" },
	/* overlong, surrogates, too large, cut short */
	{ "\xc0\xaf\xc1\x81", "????" },
	{ "\xe0\x80\x8a\xf0\x80\x80\x8a", "???????" },
	{ "\xed\xa0\x80", "???" },
	{ "\xf4\x90\x80\x80\xf5", "?????" },
	{ "\xe6\xbc", "??" },
	{ "\xe6\xbc"
	  "x",
	  "??x" },
	{ "\xf0\x9f\x98", "???" },
	{ "\xff\xfe", "??" },
	/* ends of lines, direction, order of bytes, tags */
	{ "a\xe2\x80\xa8"
	  "b\xe2\x80\xa9",
	  "a???b???" },
	{ "\xe2\x80\xae"
	  "x\xe2\x81\xa6",
	  "???x???" },
	{ "\xe2\x80\x8e\xd8\x9c", "?????" },
	{ "\xef\xbb\xbf", "???" },
	{ "\xf3\xa0\x81\x81", "????" },
};

START_TEST(every_row)
{
	char text[64];

	strcpy(text, table[_i].text);
	qcowfmt_clean_text(text);
	ck_assert_str_eq(text, table[_i].clean);
	/* Nothing is left to do. */
	qcowfmt_clean_text(text);
	ck_assert_str_eq(text, table[_i].clean);
}

END_TEST

START_TEST(messages_are_plain)
{
	struct qcowfmt_error *error = NULL;

	qcf_fail(&error, EINVAL, QCOWFMT_ERR_CORRUPT, "'%s'", "\xc2\x9b\n");
	qcf_wrap(&error, "a\xe2\x80\xae", -EINVAL);
	ck_assert_str_eq(qcowfmt_error_message(error), "a???: '?\?\?'");
	qcowfmt_error_free(error);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, every_row, 0, QCF_ARRAY_LEN(table));
	tcase_add_test(tcase, messages_are_plain);
}

int main(void)
{
	return unit_run("text_is_made_plain", add_tests);
}
