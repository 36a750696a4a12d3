/* SPDX-License-Identifier: MIT */
/*
 * img_amend.c - "qcow-img amend": change the options of an image
 *
 * Only the keys of LUKS can be changed: active adds a key, inactive erases
 * some.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "img_command.h"
#include "img_progress.h"
#include "tool_error.h"
#include "tool_open.h"
#include "tool_options.h"
#include "tool_secret.h"

#define OPTION_OBJECT     (QCF_OPTION_LONG + 1)
#define OPTION_IMAGE_OPTS (QCF_OPTION_LONG + 2)
#define OPTION_FORCE      (QCF_OPTION_LONG + 3)

static const struct qcf_tool_option options[] = {
	{ 'f', "format", "FMT", "format of the image (default: probed)",
	  false },
	{ 'o', "options", "OPTS",
	  "what to change, as in key=value,...; 'help' lists the keys", false },
	{ 't', "cache", "MODE",
	  "cache mode (none, writeback, unsafe, directsync, writethrough)",
	  false },
	{ OPTION_FORCE, "force", NULL, "even if data becomes unreadable",
	  false },
	{ 'p', "progress", NULL, "show how far it has come", false },
	{ 'q', "quiet", NULL, "print nothing but errors", false },
	{ OPTION_OBJECT, "object", "OBJDEF",
	  "define a secret, as in secret,id=ID,data=TEXT or file=NAME", false },
	{ OPTION_IMAGE_OPTS, "image-opts", NULL,
	  "FILE is a list of options, as in driver=FMT,file.filename=NAME,...",
	  false },
	QCF_OPTIONS_END
};

static const struct qcf_tool_command_help help = {
	"FILE", "Change the keys of an encrypted image.", options
};

struct request {
	struct qcf_tool_open open;
	struct qcf_image_opts opts;
	bool image_opts;
	struct qcf_keyval_list list;
	bool force;
	bool show_progress;
	bool quiet;
};

/* What is to become of which keys; the texts are those of the list. */
struct change {
	const char *state;
	const char *old_secret;
	const char *new_secret;
	const char *keyslot;
	const char *iter_time;
};

static const struct amend_option {
	const char *name;
	const char *kind;
	const char *help;
} amend_options[] = {
	{ "encrypt.iter-time", "<num>",
	  "Time to spend in PBKDF in milliseconds" },
	{ "encrypt.keyslot", "<num>",
	  "Select a single keyslot to modify explicitly" },
	{ "encrypt.new-secret", "<str>",
	  "New secret to set in the matching keyslots. Empty string to erase" },
	{ "encrypt.old-secret", "<str>",
	  "Select all keyslots that match this password" },
	{ "encrypt.state", "<str>",
	  "Select new state of affected keyslots (active/inactive)" },
};

/* ----------------------------------------------------------------- options */

static bool take_list(const char *text, struct request *r)
{
	if (!qcf_keyval_is_valid(text)) {
		qcf_tool_error("Invalid option list: %s", text);
		return false;
	}
	qcf_keyval_append(&r->list, text);
	return true;
}

static bool take_cache(const char *name, struct request *r)
{
	if (qcf_parse_cache_mode(name, &r->open.cache))
		return true;
	qcf_tool_error("Invalid cache option: %s", name);
	return false;
}

static bool take_option(int option, void *opaque)
{
	struct request *r = opaque;

	switch (option) {
	case 'f':
		r->open.format = optarg;
		break;
	case 'o':
		return take_list(optarg, r);
	case 't':
		return take_cache(optarg, r);
	case 'p':
		r->show_progress = true;
		break;
	case 'q':
		r->quiet = true;
		break;
	case OPTION_FORCE:
		r->force = true;
		break;
	case OPTION_OBJECT:
		return qcf_secret_define(optarg);
	case OPTION_IMAGE_OPTS:
		r->image_opts = true;
		break;
	default:
		break;
	}
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

static char *print_options(const char *format_name)
{
	int format = qcowfmt_format_from_name(format_name);
	char *reason;
	size_t i;

	if (format < 0)
		return qcf_tool_printf("Unknown file format '%s'", format_name);
	reason = check_format(format);
	if (reason != NULL)
		return reason;
	printf("Amend options for '%s':\n", format_name);
	for (i = 0; i < QCF_ARRAY_LEN(amend_options); i++) {
		const struct amend_option *o = &amend_options[i];
		int width = printf("  %s=%s", o->name, o->kind);

		printf("%*s - %s\n", width < 24 ? 24 - width : 0, "", o->help);
	}
	return NULL;
}

/* ------------------------------------------------------------------- change */

static bool is_one_of(const char *text, const char *const *list, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		if (strcmp(text, list[i]) == 0)
			return true;
	}
	return false;
}

/* An option that is not one of the keys. */
static char *refuse(const char *name)
{
	static const char *const not_yet[] = {
		"size",      "backing_file",  "backing_fmt",
		"compat",    "data_file_raw", "lazy_refcounts",
		"data_file", "refcount_bits",
	};
	static const char *const creation_only[] = {
		"cluster_size",       "compression_type",
		"encrypt.cipher-alg", "encrypt.cipher-mode",
		"encrypt.format",     "encrypt.hash-alg",
		"encrypt.ivgen-alg",  "encrypt.ivgen-hash-alg",
		"encrypt.key-secret", "encryption",
		"extended_l2",        "preallocation",
	};

	if (is_one_of(name, not_yet, QCF_ARRAY_LEN(not_yet)))
		return qcf_tool_printf("Option '%s' is not supported by this "
		                       "version",
		                       name);
	return qcf_tool_printf(
		"Invalid parameter '%s'%s", name,
		is_one_of(name, creation_only, QCF_ARRAY_LEN(creation_only))
			? "\nThis option is only supported for image creation"
			: "");
}

static char *check_number(const char *name, const char *text)
{
	char *end;

	if (text == NULL)
		return NULL;
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

static char *parse_change(const struct qcf_keyval_list *list,
                          struct change *change)
{
	const struct {
		const char *name;
		const char **to;
	} members[] = { { "encrypt.state", &change->state },
		        { "encrypt.old-secret", &change->old_secret },
		        { "encrypt.new-secret", &change->new_secret },
		        { "encrypt.keyslot", &change->keyslot },
		        { "encrypt.iter-time", &change->iter_time } };

	char *reason;
	size_t i;
	size_t k;

	for (i = 0; i < list->count; i++) {
		const struct qcf_keyval *pair = &list->items[i];

		for (k = 0; k < QCF_ARRAY_LEN(members); k++) {
			if (strcmp(pair->key, members[k].name) == 0)
				break;
		}
		if (k == QCF_ARRAY_LEN(members))
			return refuse(pair->key);
		*members[k].to = pair->value != NULL ? pair->value : "on";
	}
	reason = check_number("encrypt.keyslot", change->keyslot);
	return reason != NULL
	               ? reason
	               : check_number("encrypt.iter-time", change->iter_time);
}

static char *check_state(const struct change *c, bool *active)
{
	if (c->state == NULL)
		return qcf_tool_printf("Parameter 'state' is missing");
	*active = strcmp(c->state, "active") == 0;
	if (!*active && strcmp(c->state, "inactive") != 0)
		return qcf_tool_printf("Parameter 'state' does not accept "
		                       "value '%s'",
		                       c->state);
	if (*active && c->new_secret == NULL)
		return qcf_tool_printf("'new-secret' is required to activate a "
		                       "keyslot");
	if (*active && c->old_secret != NULL)
		return qcf_tool_printf("'old-secret' must not be given when "
		                       "activating keyslots");
	if (!*active && c->new_secret != NULL)
		return qcf_tool_printf("'new-secret' must not be given when "
		                       "erasing keyslots");
	if (!*active && c->iter_time != NULL)
		return qcf_tool_printf("'iter-time' must not be given when "
		                       "erasing keyslots");
	if (!*active && c->keyslot == NULL && c->old_secret == NULL)
		return qcf_tool_printf(
			"To erase keyslot(s), either explicit keyslot index or "
			"the password currently contained in them must be "
			"given");
	return NULL;
}

static char *take_slot(const struct change *c, struct qcowfmt_key_options *key)
{
	uint32_t slot;

	if (c->keyslot == NULL)
		return NULL;
	/* QEMU keeps the lower half of a number, too. */
	slot = (uint32_t)strtoull(c->keyslot, NULL, 0);
	if (slot >= QCOWFMT_KEY_SLOT_COUNT)
		return qcf_tool_printf("Invalid keyslot %" PRIu32 " specified, "
		                       "must be between 0 and %d",
		                       slot, QCOWFMT_KEY_SLOT_COUNT - 1);
	key->flags |= QCOWFMT_KEY_SLOT;
	key->slot = slot;
	return NULL;
}

/* No time at all means the shortest; the library takes 0 for its default. */
static char *take_time(const struct change *c, struct qcowfmt_key_options *key)
{
	uint64_t milliseconds;

	if (c->iter_time == NULL)
		return NULL;
	milliseconds = strtoull(c->iter_time, NULL, 0);
	if (milliseconds > UINT32_MAX)
		return qcf_tool_printf("Value '%s' is too large for parameter "
		                       "'encrypt.iter-time'",
		                       c->iter_time);
	key->iter_time_ms = (uint32_t)qcf_max(milliseconds, 1);
	return NULL;
}

static char *fill_key(const struct request *r, const struct change *c,
                      struct qcowfmt_key_options *key)
{
	const char *id = c->new_secret != NULL ? c->new_secret : c->old_secret;
	char *reason = NULL;

	*key = (struct qcowfmt_key_options){
		.struct_size = sizeof(*key),
		.flags = r->force ? QCOWFMT_KEY_FORCE : 0,
	};
	if (id != NULL)
		reason = qcf_secret_find(id, &key->secret, &key->secret_len);
	if (reason == NULL)
		reason = take_slot(c, key);
	return reason != NULL ? reason : take_time(c, key);
}

/* ------------------------------------------------------------------- errors */

static char *add_reason(int ret, const struct qcowfmt_key_options *key,
                        const struct qcowfmt_error *error)
{
	switch (ret) {
	case -EEXIST:
		return qcf_tool_printf("Refusing to overwrite active keyslot "
		                       "%" PRIu32 " - please erase it first",
		                       key->slot);
	case -ENOSPC:
		if (qcowfmt_error_code(error) == QCOWFMT_ERR_SYSTEM)
			break;
		return qcf_tool_printf("Can't add a keyslot - all keyslots are "
		                       "in use");
	default:
		break;
	}
	return qcf_tool_printf("%s", qcowfmt_error_message(error));
}

static char *erase_reason(int ret, const struct qcowfmt_key_options *key,
                          const struct qcowfmt_error *error)
{
	bool has_slot = (key->flags & QCOWFMT_KEY_SLOT) != 0;

	/* No secret is in a slot that is not in use. */
	if (ret == -ENOENT && key->secret != NULL)
		ret = -EKEYREJECTED;
	switch (ret) {
	case -EPERM:
		if (has_slot)
			return qcf_tool_printf(
				"Attempt to erase the only active keyslot "
				"%" PRIu32 " which will erase all the data in "
				"the image irreversibly - refusing operation",
				key->slot);
		return qcf_tool_printf(
			"All the active keyslots match the (old) password that "
			"was given and erasing them will erase all the data in "
			"the image irreversibly - refusing operation");
	case -EKEYREJECTED:
		if (has_slot)
			return qcf_tool_printf(
				"Given keyslot %" PRIu32 " doesn't contain the "
				"given old password for erase operation",
				key->slot);
		return qcf_tool_printf("No keyslots match given (old) password "
		                       "for erase operation");
	case -ENOENT:
		return qcf_tool_printf("Given keyslot %" PRIu32 " is already "
		                       "erased (inactive) ",
		                       key->slot);
	default:
		return qcf_tool_printf("%s", qcowfmt_error_message(error));
	}
}

/* -------------------------------------------------------------------- amend */

static char *check_image(struct qcowfmt_image *image)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;

	if (qcowfmt_get_info(image, 0, &info, &error) < 0)
		return qcf_tool_printf("%s", qcowfmt_error_message(error));
	return check_format(info.format);
}

static char *check_encryption(struct qcowfmt_image *image)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };

	if (qcowfmt_get_info(image, 0, &info, NULL) < 0 ||
	    info.encryption == QCOWFMT_ENCRYPTION_NONE)
		return qcf_tool_printf("Can't amend encryption options - "
		                       "encryption not present");
	if (info.encryption != QCOWFMT_ENCRYPTION_LUKS)
		return qcf_tool_printf("Only LUKS encryption options can be "
		                       "amended");
	return NULL;
}

static char *amend_keys(const struct request *r, struct qcowfmt_image *image,
                        const struct change *change)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct qcowfmt_key_options key;
	char *reason = check_encryption(image);
	bool active = false;
	int ret;

	if (reason == NULL)
		reason = check_state(change, &active);
	if (reason == NULL)
		reason = fill_key(r, change, &key);
	if (reason != NULL)
		return reason;
	if (active) {
		ret = qcowfmt_add_key(image, &key, &error);
		return ret < 0 ? add_reason(ret, &key, error) : NULL;
	}
	ret = qcowfmt_erase_key(image, &key, &error);
	return ret < 0 ? erase_reason(ret, &key, error) : NULL;
}

static char *amend(const struct request *r, struct qcowfmt_image *image)
{
	struct img_progress progress;
	struct change change = { 0 };
	char *reason = check_image(image);

	if (reason == NULL)
		reason = parse_change(&r->list, &change);
	if (reason != NULL)
		return reason;
	qcf_progress_begin(&progress, r->show_progress && !r->quiet, 1);
	reason = amend_keys(r, image, &change);
	qcf_progress_end(&progress, reason == NULL);
	return reason;
}

static int run(const struct request *r)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	QCF_AUTO_FREE char *reason = NULL;
	struct qcowfmt_image *image;

	if (qcf_tool_open(&r->open, &image, &reason) < 0) {
		qcf_tool_error("Could not open '%s': %s", r->open.path, reason);
		return EXIT_FAILURE;
	}
	reason = amend(r, image);
	if (qcowfmt_close(image, &error) < 0 && reason == NULL)
		reason = qcf_tool_printf("%s", qcowfmt_error_message(error));
	if (reason != NULL)
		qcf_tool_error("%s", reason);
	return reason == NULL ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run_help(const struct request *r)
{
	QCF_AUTO_FREE char *reason = print_options(r->open.format);

	if (reason != NULL)
		qcf_tool_error("%s", reason);
	return reason == NULL ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int amend_file(struct request *r, int argc, char **argv)
{
	if (r->list.count == 0) {
		qcf_tool_usage_error("Must specify options (-o)");
		return EXIT_FAILURE;
	}
	if (r->list.wants_help && r->open.format != NULL)
		return run_help(r);
	if (argc - optind != 1) {
		qcf_tool_error("Expecting one image file name");
		return EXIT_FAILURE;
	}
	if (!qcf_tool_take_image(&r->open, &r->opts, r->image_opts,
	                         argv[optind]))
		return EXIT_FAILURE;
	return run(r);
}

int qcf_img_amend(int argc, char **argv)
{
	struct request r = { .open = { .flags = QCOWFMT_OPEN_READ_WRITE } };
	int option = qcf_options_parse(&help, argc, argv, take_option, &r);
	int status = EXIT_FAILURE;

	if (option == QCF_OPTION_HELP)
		status = EXIT_SUCCESS;
	else if (option == QCF_OPTION_DONE)
		status = amend_file(&r, argc, argv);
	qcf_keyval_fini(&r.list);
	qcf_image_opts_fini(&r.opts);
	return status;
}
