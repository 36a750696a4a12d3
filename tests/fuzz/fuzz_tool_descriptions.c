/* SPDX-License-Identifier: MIT */
/*
 * fuzz_tool_descriptions.c - target: images described by options or in JSON, and
 * secrets
 *
 * Input: a byte that says which, and a text.  Nothing is opened: of secrets in
 * files there are none.
 */
#include "fuzz.h"
#include "tool_chain.h"
#include "tool_image_opts.h"
#include "tool_json.h"
#include "tool_json_parse.h"
#include "tool_secret.h"

/* What is said is to be had, or there is a reason. */
static void look(const struct qcf_image_opts *opts, char *reason)
{
	char *path_reason;

	FUZZ_ASSERT(reason == NULL || reason[0] != '\0', "an empty reason");
	for (uint32_t i = 0; reason == NULL && i < opts->node_count; i++) {
		FUZZ_ASSERT(qcf_image_opts_node(opts, i) != NULL,
		            "node %" PRIu32, i);
		(void)qcf_image_opts_secret(opts, i);
	}
	if (reason == NULL) {
		path_reason = qcf_image_opts_check_path(opts);
		free(path_reason);
	}
	free(reason);
}

static void try_options(const char *text)
{
	struct qcf_image_opts opts = { .nodes = NULL };

	look(&opts, qcf_image_opts_add(&opts, text));
	qcf_image_opts_fini(&opts);
}

static void try_json_name(const char *text)
{
	struct qcf_image_opts opts = { .nodes = NULL };

	if (qcf_is_json_name(text))
		look(&opts, qcf_image_opts_add_json(&opts, text, NULL));
	qcf_image_opts_fini(&opts);
}

static void try_json(const char *text)
{
	struct qcf_keyval_list list = { 0 };
	char *reason = qcf_json_parse(text, &list);

	for (size_t i = 0; reason == NULL && i < list.count; i++) {
		FUZZ_ASSERT(list.items[i].key != NULL &&
		                    (list.items[i].value != NULL ||
		                     list.items[i].is_null),
		            "pair %zu", i);
		qcf_json_print_string(list.items[i].key);
	}
	free(reason);
	qcf_keyval_fini(&list);
}

static void try_path(const char *text)
{
	char *reason = NULL;
	const char *path = qcf_tool_path(text, &reason);

	FUZZ_ASSERT((path == NULL) == (reason != NULL), "%s", text);
	if (path != NULL)
		free(qcf_resolve_reference("/images/top.qcow2", path));
	free(reason);
}

static void try_secret(char *text)
{
	const void *bytes;
	size_t len = 0;
	char *reason;

	/* Escapes of JSON could spell it, too. */
	if (strstr(text, "file") != NULL || strchr(text, '\\') != NULL)
		return;
	if (qcf_secret_define(text)) {
		reason = qcf_secret_find("s", &bytes, &len);
		FUZZ_ASSERT(reason != NULL || len <= QCOWFMT_MAX_SECRET, "%zu",
		            len);
		free(reason);
	}
	qcf_secret_forget_all();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const tries[])(const char *text) = {
		try_options,
		try_json_name,
		try_json,
		try_path,
	};
	char *text;

	if (size == 0)
		return 0;
	text = fuzz_text(data + 1, size - 1);
	if (data[0] % 5 < QCF_ARRAY_LEN(tries))
		tries[data[0] % 5](text);
	else
		try_secret(text);
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
