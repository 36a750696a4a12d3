/* SPDX-License-Identifier: MIT */
/*
 * img_inspect.c - "qcow-img inspect": look at an image that may not be fit to be
 * opened
 *
 * Exit codes: 0 nothing is wrong, 1 the file could not be looked at, 2 there is
 * corruption, 3 (with --untrusted, and before 2) it is not safe to use, 4 (the same,
 * and before 3) not even its header makes sense.  QEMU's program has nothing like
 * it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "img_command.h"
#include "img_output.h"
#include "tool_error.h"
#include "tool_json.h"
#include "tool_open.h"
#include "tool_options.h"
#include "tool_size.h"
#include "tool_text.h"

#define EXIT_CORRUPT    2
#define EXIT_UNSAFE     3
#define EXIT_UNREADABLE 4

#define OPTION_OUTPUT    (QCF_OPTION_LONG + 1)
#define OPTION_UNTRUSTED (QCF_OPTION_LONG + 2)
#define OPTION_MAX_SIZE  (QCF_OPTION_LONG + 3)

static const struct qcf_tool_option options[] = {
	{ OPTION_OUTPUT, "output", "human|json", "what to print", false },
	{ OPTION_UNTRUSTED, "untrusted", NULL,
	  "say whether an image from a stranger is safe to use", false },
	{ OPTION_MAX_SIZE, "max-size", "SIZE",
	  "with --untrusted: a larger disk is not safe to use", false },
	QCF_OPTIONS_END
};

static const struct qcf_tool_command_help help = {
	"FILE",
	"Show what an image file says and what is wrong with it.  Opens nothing "
	"else, and\nchanges nothing.",
	options
};

/* An image can have as many as it has entries; that many are shown. */
#define MAX_FINDINGS 1000

struct finding {
	uint32_t id;
	uint64_t host_offset;
	char *message;
};

struct request {
	const char *path;
	bool json;
	bool untrusted;
	uint64_t max_size;
	struct qcowfmt_inspection found;
	struct finding findings[MAX_FINDINGS];
	size_t count;
	uint64_t omitted;
};

static bool take_option(int option, void *opaque)
{
	struct request *r = opaque;

	if (option == OPTION_OUTPUT)
		return qcf_parse_output(optarg, &r->json);
	if (option == OPTION_MAX_SIZE)
		return qcf_parse_size_argument(optarg, "maximum size",
		                               &r->max_size);
	if (option == OPTION_UNTRUSTED)
		r->untrusted = true;
	return true;
}

static void take_finding(void *opaque, uint32_t id, uint64_t host_offset,
                         const char *message)
{
	struct request *r = opaque;

	if (r->count == MAX_FINDINGS) {
		r->omitted++;
		return;
	}
	r->findings[r->count++] =
		(struct finding){ id, host_offset,
		                  qcf_tool_printf("%s", message) };
}

/* ------------------------------------------------------------------ verdict */

static bool has(const struct request *r, uint32_t flags)
{
	return (r->found.flags & flags) != 0;
}

static bool is_qcow(const struct request *r)
{
	return r->found.format != QCOWFMT_FORMAT_RAW;
}

static bool is_corrupt(const struct request *r)
{
	return (r->found.unsafe & QCOWFMT_UNSAFE_CORRUPT) != 0;
}

/* Not of the library's: how much disk is too much is not for it to say. */
#define UNSAFE_TOO_LARGE 0x80000000u

/* Why a file from a stranger should not be used. */
static const struct {
	uint32_t reason;
	const char *name;
	const char *words;
} reasons[] = {
	{ QCOWFMT_UNSAFE_BACKING_FILE, "backing-file",
	  "it names a backing file" },
	{ QCOWFMT_UNSAFE_DATA_FILE, "data-file",
	  "it names an external data file" },
	{ QCOWFMT_UNSAFE_UNKNOWN_FEATURES, "unknown-features",
	  "it has features that are not known" },
	{ QCOWFMT_UNSAFE_CANNOT_OPEN, "cannot-open", "it cannot be opened" },
	{ QCOWFMT_UNSAFE_INCOMPLETE, "incomplete",
	  "tables are missing from the file" },
	{ QCOWFMT_UNSAFE_POLYGLOT, "polyglot",
	  "it also looks like another format" },
	{ QCOWFMT_UNSAFE_CORRUPT, "corrupt", "it is corrupt" },
	{ QCOWFMT_UNSAFE_UNCHECKED, "unchecked",
	  "parts of it could not be checked" },
	{ QCOWFMT_UNSAFE_LARGE_TABLES, "large-tables",
	  "its tables take much memory" },
	{ QCOWFMT_UNSAFE_EXPENSIVE_KEYS, "expensive-keys",
	  "trying a passphrase takes long" },
	{ UNSAFE_TOO_LARGE, "too-large",
	  "its disk is larger than --max-size allows" },
};

static uint32_t unsafe(const struct request *r)
{
	return r->found.unsafe |
	       (r->found.virtual_size > r->max_size ? UNSAFE_TOO_LARGE : 0);
}

static bool is_unsafe(const struct request *r)
{
	return unsafe(r) != 0;
}

static bool is_unreadable(const struct request *r)
{
	return is_qcow(r) && !has(r, QCOWFMT_INSPECT_HEADER);
}

static int exit_code(const struct request *r)
{
	if (r->untrusted && is_unreadable(r))
		return EXIT_UNREADABLE;
	if (r->untrusted && is_unsafe(r))
		return EXIT_UNSAFE;
	return is_corrupt(r) ? EXIT_CORRUPT : EXIT_SUCCESS;
}

/* --------------------------------------------------------------------- JSON */

static const char *encryption_name(int encryption)
{
	switch (encryption) {
	case QCOWFMT_ENCRYPTION_AES:
		return "aes";
	case QCOWFMT_ENCRYPTION_LUKS:
		return "luks";
	default:
		return "none";
	}
}

static void json_header(struct qcf_json *json, const struct request *r)
{
	const struct qcowfmt_inspection *i = &r->found;

	qcf_json_number(json, "version", i->version);
	qcf_json_number(json, "virtual-size", i->virtual_size);
	qcf_json_number(json, "cluster-size", i->cluster_size);
	qcf_json_string(json, "encryption", encryption_name(i->encryption));
	qcf_json_number(json, "incompatible-features",
	                i->incompatible_features);
	qcf_json_number(json, "unknown-features", i->unknown_incompatible);
	qcf_json_number(json, "snapshots", i->snapshot_count);
	qcf_json_number(json, "bitmaps", i->bitmap_count);
	qcf_json_bool(json, "dirty", has(r, QCOWFMT_INSPECT_DIRTY));
	qcf_json_bool(json, "corrupt", has(r, QCOWFMT_INSPECT_CORRUPT));
	if (has(r, QCOWFMT_INSPECT_BACKING))
		qcf_json_string(json, "backing-filename", i->backing_filename);
	if (i->backing_format[0] != '\0')
		qcf_json_string(json, "backing-format", i->backing_format);
	if (has(r, QCOWFMT_INSPECT_DATA_FILE))
		qcf_json_string(json, "data-filename", i->data_filename);
}

static void json_findings(struct qcf_json *json, const struct request *r)
{
	qcf_json_begin_array(json, "findings");
	for (size_t i = 0; i < r->count; i++) {
		const struct finding *f = &r->findings[i];

		qcf_json_begin_object(json, NULL);
		qcf_json_number(json, "id", f->id);
		if (f->host_offset != QCOWFMT_NO_OFFSET)
			qcf_json_number(json, "offset", f->host_offset);
		qcf_json_string(json, "message", f->message);
		qcf_json_end_object(json);
	}
	qcf_json_end_array(json);
	if (r->omitted > 0)
		qcf_json_number(json, "findings-omitted", r->omitted);
}

static void json_verdict(struct qcf_json *json, const struct request *r)
{
	qcf_json_bool(json, "safe", !is_unsafe(r));
	qcf_json_begin_array(json, "reasons");
	for (size_t i = 0; i < QCF_ARRAY_LEN(reasons); i++) {
		if ((unsafe(r) & reasons[i].reason) != 0)
			qcf_json_string(json, NULL, reasons[i].name);
	}
	qcf_json_end_array(json);
}

static void print_json(const struct request *r)
{
	struct qcf_json json = { 0 };

	qcf_json_begin_object(&json, NULL);
	qcf_json_string(&json, "filename", r->path);
	qcf_json_string(&json, "format", qcowfmt_format_name(r->found.format));
	qcf_json_number(&json, "file-size", r->found.file_size);
	if (has(r, QCOWFMT_INSPECT_HEADER))
		json_header(&json, r);
	qcf_json_bool(&json, "can-open", has(r, QCOWFMT_INSPECT_CAN_OPEN));
	qcf_json_bool(&json, "complete", has(r, QCOWFMT_INSPECT_COMPLETE));
	qcf_json_bool(&json, "polyglot", has(r, QCOWFMT_INSPECT_POLYGLOT));
	qcf_json_number(&json, "corruptions", r->found.corruptions);
	qcf_json_number(&json, "leaks", r->found.leaks);
	qcf_json_number(&json, "check-errors", r->found.check_errors);
	json_findings(&json, r);
	if (r->untrusted)
		json_verdict(&json, r);
	qcf_json_end_object(&json);
}

/* -------------------------------------------------------------------- people */

static void print_text(const char *name, const char *text)
{
	printf("%s: ", name);
	qcf_json_print_string(text);
	putchar('\n');
}

static void print_flag(const struct request *r, const char *name, uint32_t flag)
{
	printf("%s: %s\n", name, has(r, flag) ? "yes" : "no");
}

static void print_header(const struct request *r)
{
	const struct qcowfmt_inspection *i = &r->found;

	printf("version: %" PRIu32 "\n"
	       "virtual size: %" PRIu64 " bytes\n"
	       "cluster size: %" PRIu64 "\n"
	       "encryption: %s\n"
	       "snapshots: %" PRIu32 "\n"
	       "bitmaps: %" PRIu32 "\n",
	       i->version, i->virtual_size, i->cluster_size,
	       encryption_name(i->encryption), i->snapshot_count,
	       i->bitmap_count);
	print_flag(r, "marked dirty", QCOWFMT_INSPECT_DIRTY);
	print_flag(r, "marked corrupt", QCOWFMT_INSPECT_CORRUPT);
	if (i->unknown_incompatible != 0)
		printf("unknown features: 0x%" PRIx64 "\n",
		       i->unknown_incompatible);
	if (has(r, QCOWFMT_INSPECT_BACKING))
		print_text("backing file", i->backing_filename);
	if (i->backing_format[0] != '\0')
		print_text("backing file format", i->backing_format);
	if (has(r, QCOWFMT_INSPECT_DATA_FILE))
		print_text("data file", i->data_filename);
}

static void print_verdict(const struct request *r)
{
	printf("safe to use: %s\n", is_unsafe(r) ? "no" : "yes");
	for (size_t i = 0; i < QCF_ARRAY_LEN(reasons); i++) {
		if ((unsafe(r) & reasons[i].reason) != 0)
			printf("  %s\n", reasons[i].words);
	}
}

static void print_finding(const struct finding *f)
{
	printf("  ");
	qcf_print_plain(f->message);
	putchar('\n');
}

static void print_human(const struct request *r)
{
	print_text("image", r->path);
	printf("file format: %s\n"
	       "file size: %" PRIu64 " bytes\n",
	       qcowfmt_format_name(r->found.format), r->found.file_size);
	if (has(r, QCOWFMT_INSPECT_HEADER))
		print_header(r);
	print_flag(r, "can be opened", QCOWFMT_INSPECT_CAN_OPEN);
	print_flag(r, "all tables are in the file", QCOWFMT_INSPECT_COMPLETE);
	printf("corruptions: %" PRIu64 "\n"
	       "leaked clusters: %" PRIu64 "\n",
	       r->found.corruptions, r->found.leaks);
	for (size_t i = 0; i < r->count; i++)
		print_finding(&r->findings[i]);
	if (r->omitted > 0)
		printf("  and %" PRIu64 " more\n", r->omitted);
	if (r->untrusted)
		print_verdict(r);
}

/* ------------------------------------------------------------------------ run */

static bool inspect(struct request *r)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct qcowfmt_file_options o = {
		.struct_size = sizeof(o),
		.flags = QCOWFMT_FILE_READ_ONLY | QCOWFMT_FILE_NO_LOCK,
	};
	struct qcowfmt_storage *storage = NULL;
	int ret = qcowfmt_storage_open_file(r->path, &o, &storage, &error);

	if (ret == 0) {
		r->found.struct_size = sizeof(r->found);
		ret = qcowfmt_inspect(storage, take_finding, r, &r->found,
		                      &error);
	}
	qcowfmt_storage_free(storage);
	if (ret < 0)
		qcf_tool_error("Could not look at '%s': %s", r->path,
		               qcowfmt_error_message(error));
	return ret == 0;
}

static void free_request(struct request *r)
{
	for (size_t i = 0; i < r->count; i++)
		free(r->findings[i].message);
	free(r);
}

int qcf_img_inspect(int argc, char **argv)
{
	struct request *r = qcf_tool_alloc(sizeof(*r));
	int option;
	int status = EXIT_FAILURE;

	r->max_size = UINT64_MAX;
	option = qcf_options_parse(&help, argc, argv, take_option, r);
	r->untrusted = r->untrusted || qcf_tool_is_untrusted();
	if (option == QCF_OPTION_HELP) {
		status = EXIT_SUCCESS;
	} else if (option == QCF_OPTION_DONE && argc - optind != 1) {
		qcf_tool_usage_error("Expecting one image file name");
	} else if (option == QCF_OPTION_DONE) {
		r->path = argv[optind];
		if (inspect(r)) {
			if (r->json)
				print_json(r);
			else
				print_human(r);
			status = exit_code(r);
		}
	}
	free_request(r);
	return status;
}
