/* SPDX-License-Identifier: MIT */
/*
 * img_amend.c - "qcow-img amend": change the options of an image
 *
 * The order is that of QEMU's program: the version goes up first, then keys,
 * widths, names and flags, then the size, and the version goes down last.
 */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "img_amend_keys.h"
#include "img_command.h"
#include "img_progress.h"
#include "tool_error.h"
#include "tool_image_command.h"
#include "tool_size.h"

#define OPTION_FORCE (QCF_OPTION_LONG + 1)

static const struct qcf_tool_option options[] = {
	QCF_OPTION_FORMAT,
	{ 'o', "options", "OPTS",
	  "what to change, as in key=value,...; 'help' lists the keys", false },
	QCF_OPTION_CACHE,
	{ OPTION_FORCE, "force", NULL, "even if data becomes unreadable",
	  false },
	{ 'p', "progress", QCF_PROGRESS_ARG, QCF_PROGRESS_HELP, false },
	QCF_OPTION_QUIET,
	QCF_OPTION_OBJECT,
	QCF_OPTION_IMAGE_OPTS,
	QCF_OPTIONS_END
};

struct request {
	struct qcf_image_args image;
	struct qcf_keyval_list list;
	bool force;
	int progress; /* enum img_progress_mode */
};

/* What the list asks for; NULL where it says nothing. */
struct wishes {
	struct img_key_change keys;
	const char *backing_file;
	const char *backing_fmt;
	const char *compat;
	const char *data_file;
	const char *data_file_raw;
	const char *lazy_refcounts;
	const char *refcount_bits;
	const char *size;
};

enum kind { STRING, NUMBER, SIZE, BOOLEAN };

#define WISH(name) offsetof(struct wishes, name)

static const struct amend_option {
	const char *name;
	enum kind kind;
	size_t to;
	const char *help;
} amend_options[] = {
	{ "backing_file", STRING, WISH(backing_file),
	  "File name of a base image" },
	{ "backing_fmt", STRING, WISH(backing_fmt),
	  "Image format of the base image" },
	{ "compat", STRING, WISH(compat),
	  "Compatibility level (v2 [0.10] or v3 [1.1])" },
	{ "data_file", STRING, WISH(data_file),
	  "File name of an external data file" },
	{ "data_file_raw", BOOLEAN, WISH(data_file_raw),
	  "The external data file must stay valid as a raw image" },
	{ "encrypt.iter-time", NUMBER, WISH(keys.iter_time),
	  "Time to spend in PBKDF in milliseconds" },
	{ "encrypt.keyslot", NUMBER, WISH(keys.keyslot),
	  "Select a single keyslot to modify explicitly" },
	{ "encrypt.new-secret", STRING, WISH(keys.new_secret),
	  "New secret to set in the matching keyslots. Empty string to erase" },
	{ "encrypt.old-secret", STRING, WISH(keys.old_secret),
	  "Select all keyslots that match this password" },
	{ "encrypt.state", STRING, WISH(keys.state),
	  "Select new state of affected keyslots (active/inactive)" },
	{ "lazy_refcounts", BOOLEAN, WISH(lazy_refcounts),
	  "Postpone refcount updates" },
	{ "refcount_bits", NUMBER, WISH(refcount_bits),
	  "Width of a reference count entry in bits" },
	{ "size", SIZE, WISH(size), "Virtual disk size" },
};

static const char *const creation_only[] = {
	"cluster_size",       "compression_type",
	"encrypt.cipher-alg", "encrypt.cipher-mode",
	"encrypt.format",     "encrypt.hash-alg",
	"encrypt.ivgen-alg",  "encrypt.ivgen-hash-alg",
	"encrypt.key-secret", "encryption",
	"extended_l2",        "preallocation",
};

/* -------------------------------------------------------------- the command */

static bool take_option(int option, void *opaque)
{
	struct request *r = opaque;

	if (option == OPTION_FORCE) {
		r->force = true;
		return true;
	}
	if (option == 'p')
		return qcf_progress_parse(optarg, &r->progress);
	if (!qcf_keyval_is_valid(optarg)) {
		qcf_tool_error("Invalid option list: %s", optarg);
		return false;
	}
	qcf_keyval_append(&r->list, optarg);
	return true;
}

static char *check_format(int format)
{
	if (format == QCOWFMT_FORMAT_QCOW2)
		return NULL;
	return qcf_tool_printf("Format driver '%s' does not support option "
	                       "amendment",
	                       qcowfmt_format_name(format));
}

static void print_options(void)
{
	static const char *const kinds[] = { "<str>", "<num>", "<size>",
		                             "<bool (on/off)>" };

	puts("Amend options for 'qcow2':");
	for (size_t i = 0; i < QCF_ARRAY_LEN(amend_options); i++) {
		const struct amend_option *o = &amend_options[i];
		int width = printf("  %s=%s", o->name, kinds[o->kind]);

		printf("%*s - %s\n", width < 24 ? 24 - width : 0, "", o->help);
	}
}

/* The list of options of a format, without an image. */
static int help_on_format(const char *name)
{
	int format = qcowfmt_format_from_name(name);
	QCF_AUTO_FREE char *reason =
		format < 0 ? qcf_tool_printf("Unknown file format '%s'", name)
			   : check_format(format);

	if (reason != NULL)
		qcf_tool_error("%s", reason);
	else
		print_options();
	return reason == NULL ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ------------------------------------------------------------------- wishes */

static char *refuse(const char *name)
{
	bool known = false;

	for (size_t i = 0; i < QCF_ARRAY_LEN(creation_only); i++)
		known |= strcmp(name, creation_only[i]) == 0;
	return qcf_tool_printf(
		"Invalid parameter '%s'%s", name,
		known ? "\nThis option is only supported for image creation"
		      : "");
}

static char *check_number(const char *name, const char *text)
{
	char *end;

	errno = 0;
	(void)strtoull(text, &end, 0);
	if (end == text || *end != '\0')
		return qcf_tool_printf("Parameter '%s' expects a number", name);
	if (errno == ERANGE)
		return qcf_tool_printf("Value '%s' is too large for parameter "
		                       "'%s'",
		                       text, name);
	return NULL;
}

static char *check_size(const char *name, const char *text)
{
	uint64_t size;
	int ret = qcf_parse_size(text, &size);

	if (ret == -ERANGE)
		return qcf_tool_printf("Value '%s' is out of range for "
		                       "parameter '%s'",
		                       text, name);
	if (ret < 0)
		return qcf_tool_printf(
			"Parameter '%s' expects a non-negative number below "
			"2^64\nOptional suffix k, M, G, T, P or E means kilo-, "
			"mega-, giga-, tera-, peta-\nand exabytes, "
			"respectively.",
			name);
	return NULL;
}

static char *check_boolean(const char *name, const char *text)
{
	if (strcmp(text, "on") == 0 || strcmp(text, "off") == 0)
		return NULL;
	return qcf_tool_printf("Parameter '%s' expects 'on' or 'off'", name);
}

static char *check_value(const struct amend_option *o, const char *text)
{
	switch (o->kind) {
	case NUMBER:
		return check_number(o->name, text);
	case SIZE:
		return check_size(o->name, text);
	case BOOLEAN:
		return check_boolean(o->name, text);
	default:
		return NULL;
	}
}

/* A boolean that is switched off by its name, as in "nolazy_refcounts". */
static bool is_negated(const struct amend_option *o,
                       const struct qcf_keyval *pair)
{
	return o->kind == BOOLEAN && pair->value == NULL &&
	       strncmp(pair->key, "no", 2) == 0 &&
	       strcmp(pair->key + 2, o->name) == 0;
}

static char *take_pair(const struct qcf_keyval *pair, struct wishes *w)
{
	for (size_t i = 0; i < QCF_ARRAY_LEN(amend_options); i++) {
		const struct amend_option *o = &amend_options[i];
		const char **to = (const char **)(void *)((char *)w + o->to);

		if (is_negated(o, pair))
			*to = "off";
		else if (strcmp(pair->key, o->name) == 0)
			*to = pair->value != NULL ? pair->value : "on";
		else
			continue;
		return check_value(o, *to);
	}
	return refuse(pair->key);
}

static char *take_wishes(const struct qcf_keyval_list *list, struct wishes *w)
{
	char *reason = NULL;

	for (size_t i = 0; reason == NULL && i < list->count; i++)
		reason = take_pair(&list->items[i], w);
	return reason;
}

static char *take_compat(const char *text, uint32_t *version)
{
	if (text == NULL)
		return NULL;
	if (strcmp(text, "0.10") == 0 || strcmp(text, "v2") == 0)
		*version = 2;
	else if (strcmp(text, "1.1") == 0 || strcmp(text, "v3") == 0)
		*version = 3;
	else
		return qcf_tool_printf("Unknown compatibility level %s", text);
	return NULL;
}

static char *take_refcount_bits(const char *text, uint32_t *bits)
{
	uint32_t value;

	if (text == NULL)
		return NULL;
	/* QEMU keeps the lower half of a number, too. */
	value = (uint32_t)strtoull(text, NULL, 0);
	if (value == 0 || value > 64 || (value & (value - 1)) != 0)
		return qcf_tool_printf("Refcount width must be a power of two "
		                       "and may not exceed 64 bits");
	*bits = value;
	return NULL;
}

/* A raw data file can stay one, but not become one. */
static char *take_raw(const char *text, const struct qcowfmt_info *info,
                      int32_t *raw)
{
	bool wanted = text != NULL && strcmp(text, "on") == 0;

	if (wanted && (info->flags & QCOWFMT_INFO_DATA_FILE_RAW) == 0)
		return qcf_tool_printf("data-file-raw cannot be set on "
		                       "existing images");
	if (text != NULL && !wanted)
		*raw = -1;
	return NULL;
}

static bool is_same_text(const char *a, const char *b)
{
	return strcmp(a == NULL ? "" : a, b == NULL ? "" : b) == 0;
}

/* Names of the backing file can be repeated, both of them, not changed. */
static char *check_backing(const struct wishes *w,
                           const struct qcowfmt_info *info)
{
	if (w->backing_file == NULL && w->backing_fmt == NULL)
		return NULL;
	if (w->backing_file != NULL && w->backing_fmt != NULL &&
	    info->backing_filename != NULL &&
	    is_same_text(w->backing_file, info->backing_filename) &&
	    is_same_text(w->backing_fmt, info->backing_format))
		return NULL;
	return qcf_tool_printf("Cannot amend the backing file\n"
	                       "You can use 'qemu-img rebase' instead.");
}

static char *fill_options(const struct wishes *w,
                          const struct qcowfmt_info *info,
                          struct qcowfmt_amend_options *o)
{
	char *reason = take_compat(w->compat, &o->version);

	if (reason == NULL)
		reason =
			take_refcount_bits(w->refcount_bits, &o->refcount_bits);
	if (reason == NULL)
		reason = take_raw(w->data_file_raw, info, &o->data_file_raw);
	if (reason == NULL)
		reason = check_backing(w, info);
	o->data_filename = w->data_file;
	if (w->lazy_refcounts != NULL)
		o->lazy_refcounts =
			strcmp(w->lazy_refcounts, "on") == 0 ? 1 : -1;
	return reason;
}

static bool wants_keys(const struct wishes *w)
{
	return w->keys.state != NULL || w->keys.old_secret != NULL ||
	       w->keys.new_secret != NULL || w->keys.keyslot != NULL ||
	       w->keys.iter_time != NULL;
}

/* -------------------------------------------------------------------- amend */

/* What the image is asked to become, in steps. */
struct amending {
	struct qcowfmt_image *image;
	const struct request *request;
	struct wishes wishes;
	struct qcowfmt_info info; /* as it was */
	struct qcowfmt_amend_options options;
	struct img_progress progress;
};

/* The words of an error, without the name of the image in front of them. */
static char *words_of(const struct amending *a,
                      const struct qcowfmt_error *error)
{
	const char *message = qcowfmt_error_message(error);
	size_t len = strlen(a->info.filename);

	if (strncmp(message, a->info.filename, len) == 0 &&
	    strncmp(message + len, ": ", 2) == 0)
		message += len + 2;
	return qcf_tool_printf("%s", message);
}

static char *amend(struct amending *a, const struct qcowfmt_amend_options *o)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_amend(a->image, o, &error);

	if (ret == 0)
		return NULL;
	if (ret == -ENOSPC && qcowfmt_error_code(error) == QCOWFMT_ERR_NO_SPACE)
		return qcf_tool_printf("Failed to update the image header: No "
		                       "space left on device");
	return words_of(a, error);
}

static char *resize_reason(const struct amending *a, int ret,
                           const struct qcowfmt_error *error)
{
	bool is_2 = a->options.version != 0 ? a->options.version == 2
	                                    : a->info.version == 2;

	if (ret == -EFBIG)
		return qcf_tool_printf("Failed to grow the L1 table: File too "
		                       "large");
	if (ret == -ENOTSUP && is_2 && a->info.snapshot_count > 0)
		return qcf_tool_printf("Can't resize a v2 image which has "
		                       "snapshots");
	return words_of(a, error);
}

/* A size of 0 means that it stays as it is. */
static char *resize(struct amending *a)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct qcowfmt_resize_options how = { .struct_size = sizeof(how),
		                              .flags = QCOWFMT_RESIZE_SHRINK };
	uint64_t size = 0;
	int ret;

	if (a->wishes.size == NULL ||
	    qcf_parse_size(a->wishes.size, &size) < 0 || size == 0)
		return NULL;
	if (size > INT64_MAX)
		return qcf_tool_printf("Image size cannot be negative");
	if (size % 512 != 0)
		return qcf_tool_printf("The new size must be a multiple of "
		                       "512");
	ret = qcowfmt_resize(a->image, size, &how, &error);
	return ret < 0 ? resize_reason(a, ret, error) : NULL;
}

/* The size changes while the image is of version 3, which can do more. */
static char *amend_in_order(struct amending *a)
{
	struct qcowfmt_amend_options first = a->options;
	bool goes_down = a->options.version == 2 && a->info.version == 3;
	char *reason;

	if (a->wishes.size != NULL && goes_down) {
		first.version = 0;
		reason = amend(a, &first);
		if (reason == NULL)
			reason = resize(a);
		return reason != NULL ? reason : amend(a, &a->options);
	}
	reason = amend(a, &first);
	return reason != NULL ? reason : resize(a);
}

/* Only what the keys need goes first. */
static char *raise_version(struct amending *a)
{
	struct qcowfmt_amend_options up = a->options;

	if (up.version <= a->info.version)
		return NULL;
	up.refcount_bits = 0;
	up.lazy_refcounts = 0;
	up.data_file_raw = 0;
	up.data_filename = NULL;
	return amend(a, &up);
}

static char *amend_keys_first(struct amending *a)
{
	char *reason = NULL;

	if (!wants_keys(&a->wishes))
		return NULL;
	if (a->info.encryption == QCOWFMT_ENCRYPTION_LUKS)
		reason = raise_version(a);
	return reason != NULL ? reason
	                      : img_amend_keys(a->image, &a->wishes.keys,
	                                       a->request->force);
}

static char *change(struct amending *a)
{
	char *reason = fill_options(&a->wishes, &a->info, &a->options);

	if (reason == NULL)
		reason = amend_keys_first(a);
	return reason != NULL ? reason : amend_in_order(a);
}

static char *amend_image(struct amending *a)
{
	const struct request *r = a->request;
	int mode = r->image.quiet ? IMG_PROGRESS_NONE : r->progress;
	char *reason = take_wishes(&r->list, &a->wishes);

	if (reason != NULL) {
		if (mode == IMG_PROGRESS_LINE)
			putchar('\n');
		return reason;
	}
	qcf_progress_begin(&a->progress, mode, 1);
	reason = change(a);
	/* QEMU's program shows 100, whatever has happened. */
	qcf_progress_end(&a->progress,
	                 reason == NULL || mode == IMG_PROGRESS_LINE);
	return reason;
}

static int work(struct qcowfmt_image *image, void *opaque)
{
	struct amending a = {
		.image = image,
		.request = opaque,
		.info = { .struct_size = sizeof(a.info) },
	};
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	QCF_AUTO_FREE char *reason = NULL;

	a.options = (struct qcowfmt_amend_options){
		.struct_size = sizeof(a.options),
		.progress = qcf_progress_callback,
		.progress_opaque = &a.progress,
	};
	if (qcowfmt_get_info(image, 0, &a.info, &error) < 0)
		reason = qcf_tool_printf("%s", qcowfmt_error_message(error));
	else
		reason = check_format(a.info.format);
	if (reason == NULL && a.request->list.wants_help)
		print_options();
	else if (reason == NULL)
		reason = amend_image(&a);
	if (reason != NULL)
		qcf_tool_error("%s", reason);
	return reason == NULL ? EXIT_SUCCESS : EXIT_FAILURE;
}

static const struct qcf_image_command command = {
	{ "FILE", "Change the options of an image.", options },
	take_option,
	work
};

static int run(struct request *r, int argc, char **argv)
{
	if (r->list.count == 0) {
		qcf_tool_usage_error("Must specify options (-o)");
		return EXIT_FAILURE;
	}
	if (r->list.wants_help && r->image.open.format != NULL)
		return help_on_format(r->image.open.format);
	if (argc - optind != 1) {
		qcf_tool_error("Expecting one image file name");
		return EXIT_FAILURE;
	}
	if (!qcf_image_args_take(&r->image, argv[optind]))
		return EXIT_FAILURE;
	return qcf_image_args_work(&r->image, work, r);
}

int qcf_img_amend(int argc, char **argv)
{
	struct request r = {
		.image = { .open = { .flags = QCOWFMT_OPEN_READ_WRITE,
		                     .in_order = true } },
	};
	int status;

	if (qcf_image_args_parse(&r.image, &command, &r, argc, argv, &status))
		status = run(&r, argc, argv);
	qcf_keyval_fini(&r.list);
	qcf_image_args_fini(&r.image);
	return status;
}
