/* SPDX-License-Identifier: MIT */
/*
 * fuzz_tool_texts.c - target: sizes, lists of options and names as people type
 * them, and texts of images as they are shown
 *
 * Input: a text.
 */
#include <errno.h>

#include "fuzz.h"
#include "tool_driver.h"
#include "tool_json.h"
#include "tool_keyval.h"
#include "tool_open.h"
#include "tool_preallocation.h"
#include "tool_size.h"
#include "tool_text.h"

static void try_size(const char *text)
{
	char number[32];
	char shown[QCF_SIZE_TEXT];
	uint64_t again;
	uint64_t size;
	int ret = qcf_parse_size(text, &size);

	FUZZ_ASSERT(ret == 0 || ret == -EINVAL || ret == -ERANGE, "%d", ret);
	(void)qcf_parse_size_argument(text, "It", &again);
	if (ret < 0)
		return;
	(void)snprintf(number, sizeof(number), "%" PRIu64, size);
	FUZZ_ASSERT(qcf_parse_size(number, &again) == 0 && again == size, "%s",
	            number);
	FUZZ_ASSERT(strlen(qcf_format_size(shown, size)) < QCF_SIZE_TEXT, "%s",
	            shown);
	FUZZ_ASSERT(strlen(qcf_format_size_long(shown, (double)size)) <
	                    QCF_SIZE_TEXT,
	            "%s", shown);
}

static void try_keyval(const char *text)
{
	struct qcf_keyval_list list = { 0 };

	(void)qcf_keyval_is_valid(text);
	qcf_keyval_append(&list, text);
	FUZZ_ASSERT(list.count <= strlen(text) + 1, "%zu pairs", list.count);
	qcf_keyval_complete(&list, list.count / 2);
	for (size_t i = 0; i < list.count; i++) {
		FUZZ_ASSERT(list.items[i].key != NULL, "pair %zu", i);
		FUZZ_ASSERT(i < list.count / 2 || list.items[i].value != NULL ||
		                    list.items[i].is_null,
		            "pair %zu has no value", i);
		(void)qcf_keyval_find(&list, list.items[i].key);
	}
	if (list.count % 2 == 0)
		qcf_keyval_fini(&list);
	else
		qcf_keyval_wipe(&list);
}

static void try_plain(const char *text)
{
	char *plain = qcf_plain_text(text);
	char *again = qcf_plain_text(plain);

	FUZZ_ASSERT(strcmp(plain, again) == 0, "plain text is not plain");
	for (const char *c = plain; *c != '\0'; c++)
		FUZZ_ASSERT((unsigned char)*c >= 0x20 && *c != 0x7f,
		            "character 0x%02x", (unsigned char)*c);
	free(plain);
	free(again);
}

static void try_lines(const char *text)
{
	char *copy = fuzz_need(strdup(text));

	qcf_clean_lines(copy);
	for (const char *c = copy; *c != '\0'; c++)
		FUZZ_ASSERT((unsigned char)*c >= 0x20 || *c == '\n',
		            "character 0x%02x", (unsigned char)*c);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qcf_cache_mode mode;
	char *text = fuzz_text(data, size);

	try_size(text);
	try_keyval(text);
	try_plain(text);
	try_lines(text);
	qcf_json_print_string(text);
	(void)qcf_parse_cache_mode(text, &mode);
	(void)qcf_find_preallocation(text);
	(void)qcf_is_known_driver(text);
	(void)qcowfmt_format_from_name(text);
	free(text);
	return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_be_quiet();
	return 0;
}
