/* SPDX-License-Identifier: MIT */
/*
 * img_info.c - "qcow-img info": show what an image says about itself
 *
 * Opens the named file only; with --backing-chain also the files below it, one
 * after the other, each without its own references.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "img_command.h"
#include "img_limits.h"
#include "img_snapshot_list.h"
#include "tool_error.h"
#include "tool_format_info.h"
#include "tool_image_command.h"
#include "tool_json.h"
#include "tool_size.h"
#include "tool_text.h"

#define OPTION_BACKING_CHAIN (QCF_OPTION_LONG + 1)
#define OPTION_LIMITS        (QCF_OPTION_LONG + 2)

static const struct qcf_tool_option options[] = {
	QCF_OPTION_FORMAT,
	{ OPTION_BACKING_CHAIN, "backing-chain", NULL,
	  "also show the images below it", false },
	QCF_OPTION_CACHE,
	QCF_OPTION_FORCE_SHARE,
	QCF_OPTION_OUTPUT,
	{ OPTION_LIMITS, "limits", NULL,
	  "also show what requests have to keep to", false },
	QCF_OPTION_OBJECT,
	QCF_OPTION_IMAGE_OPTS,
	QCF_OPTIONS_END
};

struct request {
	struct qcf_image_args image;
	bool chain;
	bool limits;
};

/* One image of the chain. */
struct node {
	struct qcowfmt_image *image;
	struct qcf_image_facts facts;
	char *name; /* to be shown */
	const char *format;
	bool limits;    /* are to be shown */
	bool is_stored; /* the name is from an image */
	/* Which file it is, to notice a chain that bites its own tail. */
	dev_t dev;
	ino_t ino;
};

#define MAX_CHAIN 4096

static bool take_option(int option, void *opaque)
{
	struct request *r = opaque;

	if (option == OPTION_LIMITS)
		r->limits = true;
	else
		r->chain = true;
	return true;
}

/* ------------------------------------------------------------------- human */

static void print_size(const char *label, uint64_t size)
{
	char text[QCF_SIZE_TEXT];

	printf("%s: %s (%" PRIu64 " bytes)\n", label,
	       qcf_format_size(text, size), size);
}

static void print_text(const char *label, const char *text)
{
	printf("%s: ", label);
	qcf_print_plain(text);
	putchar('\n');
}

/* What the user typed is shown as it is. */
static void print_name(const char *label, const struct node *node,
                       const char *name)
{
	if (node->is_stored)
		print_text(label, name);
	else
		printf("%s: %s\n", label, name);
}

/* The name by which the backing file is opened. */
static const char *full_backing_name(const struct qcowfmt_info *info)
{
	const char *name = info->backing_filename;

	if (name != NULL && strncmp(name, "file:", strlen("file:")) == 0)
		return name;
	return info->full_backing_filename;
}

static void print_backing(const struct qcowfmt_info *info)
{
	const char *full = full_backing_name(info);

	if (info->backing_filename == NULL)
		return;
	printf("backing file: ");
	qcf_print_plain(info->backing_filename);
	if (full == NULL) {
		printf(" (cannot determine actual path)");
	} else if (strcmp(info->backing_filename, full) != 0) {
		printf(" (actual path: ");
		qcf_print_plain(full);
		putchar(')');
	}
	putchar('\n');
	if (info->backing_format != NULL)
		print_text("backing file format", info->backing_format);
}

/* The file that the image lies in, whose length counts in sectors. */
static void print_file_node(const struct node *node)
{
	const struct qcowfmt_info *info = &node->facts.info;
	char text[QCF_SIZE_TEXT];

	puts("Child node '/file':");
	print_name("    filename", node, info->filename);
	puts("    protocol type: file");
	print_size("    file length", qcf_round_up(info->file_size, 512));
	printf("    disk size: %s\n",
	       qcf_format_size(text, info->allocated_size));
}

/* Everything else about the image is told all the same. */
static void report(int ret, const struct qcowfmt_error *error)
{
	if (ret < 0)
		qcf_tool_warning("%s", qcowfmt_error_message(error));
}

static void print_human(const struct node *node)
{
	const struct qcowfmt_info *info = &node->facts.info;
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	int ret;
	char text[QCF_SIZE_TEXT];

	print_name("image", node, node->name);
	printf("file format: %s\n", node->format);
	print_size("virtual size", info->virtual_size);
	printf("disk size: %s\n", qcf_format_size(text, info->allocated_size));
	if ((info->flags & QCOWFMT_INFO_ENCRYPTED) != 0)
		puts("encrypted: yes");
	if (info->cluster_size != 0)
		printf("cluster_size: %" PRIu64 "\n", info->cluster_size);
	if ((info->flags & QCOWFMT_INFO_DIRTY) != 0)
		puts("cleanly shut down: no");
	print_backing(info);
	ret = qcf_print_snapshots(node->image, &error);
	report(ret, error);
	qcf_print_format_info(&node->facts);
	if (node->limits)
		qcf_print_limits(info);
	print_file_node(node);
}

/* -------------------------------------------------------------------- JSON */

static void json_file_node(struct qcf_json *json,
                           const struct qcowfmt_info *info)
{
	qcf_json_begin_array(json, "children");
	qcf_json_begin_object(json, NULL);
	qcf_json_string(json, "name", "file");
	qcf_json_begin_object(json, "info");
	qcf_json_begin_array(json, "children");
	qcf_json_end_array(json);
	qcf_json_number(json, "virtual-size",
	                qcf_round_up(info->file_size, 512));
	qcf_json_string(json, "filename", info->filename);
	qcf_json_string(json, "format", "file");
	qcf_json_number(json, "actual-size", info->allocated_size);
	qcf_json_begin_object(json, "format-specific");
	qcf_json_string(json, "type", "file");
	qcf_json_begin_object(json, "data");
	qcf_json_end_object(json);
	qcf_json_end_object(json);
	qcf_json_bool(json, "dirty-flag", false);
	qcf_json_end_object(json);
	qcf_json_end_object(json);
	qcf_json_end_array(json);
}

static void json_optional(struct qcf_json *json, const char *name,
                          const char *value)
{
	if (value != NULL)
		qcf_json_string(json, name, value);
}

/* The members stand in the order of QEMU's program. */
static void print_json(struct qcf_json *json, const struct node *node)
{
	const struct qcowfmt_info *info = &node->facts.info;
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	int ret;

	qcf_json_begin_object(json, NULL);
	json_file_node(json, info);
	json_optional(json, "backing-filename-format", info->backing_format);
	ret = qcf_json_snapshots(json, node->image, &error);
	report(ret, error);
	qcf_json_number(json, "virtual-size", info->virtual_size);
	qcf_json_string(json, "filename", node->name);
	if (info->cluster_size != 0)
		qcf_json_number(json, "cluster-size", info->cluster_size);
	qcf_json_string(json, "format", node->format);
	qcf_json_number(json, "actual-size", info->allocated_size);
	qcf_json_format_info(json, &node->facts);
	if (node->limits)
		qcf_json_limits(json, info);
	json_optional(json, "full-backing-filename", full_backing_name(info));
	if ((info->flags & QCOWFMT_INFO_ENCRYPTED) != 0)
		qcf_json_bool(json, "encrypted", true);
	json_optional(json, "backing-filename", info->backing_filename);
	qcf_json_bool(json, "dirty-flag",
	              (info->flags & QCOWFMT_INFO_DIRTY) != 0);
	qcf_json_end_object(json);
}

/* ----------------------------------------------------------------- warnings */

/*
 * Nobody should take "encrypted" for safe.
 */
static void warn(const struct qcowfmt_info *info, bool for_people)
{
	if (for_people && info->encryption == QCOWFMT_ENCRYPTION_AES)
		qcf_tool_warning("%s: encryption format 'aes' is weak and "
		                 "deprecated; convert the image to 'luks'",
		                 info->filename);
}

/* ------------------------------------------------------------------- chain */

struct chain {
	struct node nodes[MAX_CHAIN];
	size_t count;
};

static void complain(const char *path, const char *reason)
{
	QCF_AUTO_FREE char *plain = qcf_plain_text(path);

	qcf_tool_error("Could not open '%s': %s", plain, reason);
}

static bool note_file(struct chain *chain, const char *path)
{
	struct node *now = &chain->nodes[chain->count];
	struct stat st;
	size_t i;

	if (stat(path, &st) < 0)
		return true;
	now->dev = st.st_dev;
	now->ino = st.st_ino;
	for (i = 0; i < chain->count; i++) {
		if (chain->nodes[i].dev == st.st_dev &&
		    chain->nodes[i].ino == st.st_ino) {
			QCF_AUTO_FREE char *plain = qcf_plain_text(path);

			qcf_tool_error("Backing file '%s' creates an infinite "
			               "loop.",
			               plain);
			return false;
		}
	}
	return true;
}

static bool is_plain(const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text < ' ' || *text > '~' || *text == '"' || *text == '\\')
			return false;
	}
	return true;
}

/* The file of an image that is a part of it; the caller frees the text. */
static char *describe_window(const struct qcf_image_node *said)
{
	QCF_AUTO_FREE char *size =
		said->window.has_size ? qcf_tool_printf(", \"size\": %" PRIu64,
	                                                said->window.size)
				      : qcf_tool_printf("%s", "");

	return qcf_tool_printf("\"offset\": %" PRIu64 ", \"driver\": "
	                       "\"raw\"%s, ",
	                       said->window.offset, size);
}

/*
 * The name to show.  QEMU's programs show all of a description if the content
 * depends on more of it than the file.
 */
static char *make_name(const struct qcowfmt_info *info,
                       const struct qcf_image_opts *opts)
{
	const struct qcf_image_node *said =
		opts != NULL ? qcf_image_opts_node(opts, 0) : NULL;
	const char *format = qcowfmt_format_name(info->format);
	QCF_AUTO_FREE char *window = NULL;

	/* It would name a protocol. */
	if (said == NULL &&
	    info->filename[strcspn(info->filename, ":/")] == ':')
		return qcf_tool_printf("./%s", info->filename);
	if (said == NULL || !is_plain(info->filename) ||
	    (said->secret != NULL && !is_plain(said->secret)))
		return qcf_tool_printf("%s", info->filename);
	if (said->secret != NULL)
		return qcf_tool_printf("json:{\"encrypt.key-secret\": "
		                       "\"%s\", \"driver\": \"%s\", "
		                       "\"file\": {\"driver\": \"file\", "
		                       "\"filename\": \"%s\"}}",
		                       said->secret, format, info->filename);
	if (!qcf_is_window(&said->window))
		return qcf_tool_printf("%s", info->filename);
	window = describe_window(said);
	if (info->format == QCOWFMT_FORMAT_RAW)
		return qcf_tool_printf("json:{%s\"file\": {\"driver\": "
		                       "\"file\", \"filename\": \"%s\"}}",
		                       window, info->filename);
	return qcf_tool_printf("json:{\"driver\": \"%s\", \"file\": "
	                       "{%s\"file\": {\"driver\": \"file\", "
	                       "\"filename\": \"%s\"}}}",
	                       format, window, info->filename);
}

/* What a part of a file takes is not known: QEMU's programs show all of it. */
static void use_whole_file(struct qcowfmt_info *info,
                           const struct qcf_image_opts *opts)
{
	struct stat st;

	if (opts != NULL && qcf_is_window(&opts->nodes[0].window) &&
	    stat(info->filename, &st) == 0)
		info->allocated_size = (uint64_t)st.st_blocks * 512;
}

static const char *format_name(const struct qcowfmt_info *info,
                               const struct qcf_image_opts *opts)
{
	if (opts != NULL && opts->driver != NULL &&
	    strcmp(opts->driver, "file") == 0)
		return "file";
	return qcowfmt_format_name(info->format);
}

/* Open one more image and read what it says; path is that of its file. */
static bool add_image(struct chain *chain, const struct qcf_tool_open *open,
                      const char *path)
{
	struct node *node = &chain->nodes[chain->count];
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	QCF_AUTO_FREE char *reason = NULL;

	if (chain->count == MAX_CHAIN) {
		qcf_tool_error("The backing chain is longer than %d images",
		               MAX_CHAIN);
		return false;
	}
	if (!note_file(chain, path))
		return false;
	if (qcf_tool_open(open, &node->image, &reason) < 0) {
		complain(open->path, reason);
		return false;
	}
	chain->count++;
	if (qcf_get_facts(node->image, &node->facts, &error) < 0) {
		complain(open->path, qcowfmt_error_message(error));
		return false;
	}
	node->is_stored = open->is_stored;
	node->name = make_name(&node->facts.info, open->opts);
	node->format = format_name(&node->facts.info, open->opts);
	use_whole_file(&node->facts.info, open->opts);
	return true;
}

/* The path of the file that an image lies in; NULL with a message. */
static const char *find_path(const struct qcf_tool_open *open)
{
	QCF_AUTO_FREE char *reason = NULL;
	const char *path = NULL;

	if (open->opts != NULL)
		return open->opts->path;
	path = qcf_tool_path(open->path, &reason);
	if (path == NULL)
		complain(open->path, reason);
	return path;
}

static void refuse_untrusted(const char *name)
{
	QCF_AUTO_FREE char *plain = qcf_plain_text(name);

	qcf_tool_error("The image names '%s', which --untrusted does not let "
	               "it open",
	               plain);
}

static bool open_chain(struct chain *chain, const struct request *r)
{
	struct qcf_tool_open next = r->image.open;
	struct qcf_image_opts opts = { 0 };
	bool ok = true;

	for (;;) {
		const struct qcowfmt_info *info;
		const char *path = find_path(&next);

		ok = path != NULL && add_image(chain, &next, path);
		if (!ok)
			break;
		chain->nodes[chain->count - 1].limits = r->limits;
		info = &chain->nodes[chain->count - 1].facts.info;
		if (!r->chain || full_backing_name(info) == NULL)
			break;
		ok = !qcf_tool_is_untrusted();
		if (!ok) {
			refuse_untrusted(info->backing_filename);
			break;
		}
		next.format = info->backing_format;
		next.opts = NULL;
		next.is_stored = true;
		qcf_image_opts_fini(&opts);
		ok = qcf_tool_take_image(&next, &opts, false,
		                         full_backing_name(info));
		if (!ok)
			break;
	}
	qcf_image_opts_fini(&opts);
	return ok;
}

static void print_chain(const struct chain *chain, const struct request *r)
{
	struct qcf_json json = { 0 };
	size_t i;

	if (r->image.json && r->chain)
		qcf_json_begin_array(&json, NULL);
	for (i = 0; i < chain->count; i++) {
		warn(&chain->nodes[i].facts.info, !r->image.json);
		if (r->image.json) {
			print_json(&json, &chain->nodes[i]);
			continue;
		}
		if (i > 0)
			putchar('\n');
		print_human(&chain->nodes[i]);
	}
	if (r->image.json && r->chain)
		qcf_json_end_array(&json);
}

static void close_chain(struct chain *chain)
{
	while (chain->count > 0) {
		struct node *node = &chain->nodes[--chain->count];

		(void)qcowfmt_close(node->image, NULL);
		qcf_free_facts(&node->facts);
		free(node->name);
	}
}

static int run(const struct request *r)
{
	QCF_AUTO_FREE struct chain *chain = qcf_tool_alloc(sizeof(*chain));
	bool ok = open_chain(chain, r);

	if (ok)
		print_chain(chain, r);
	close_chain(chain);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

static const struct qcf_image_command command = {
	{ "FILE", "Show what an image says about itself.", options },
	take_option,
	NULL,
};

int qcf_img_info(int argc, char **argv)
{
	struct request r = {
		.image.open = { .flags = QCOWFMT_OPEN_NO_DATA,
		                .no_references = true },
	};
	int status;

	if (qcf_image_args_parse(&r.image, &command, &r, argc, argv, &status)) {
		status = EXIT_FAILURE;
		if (argc - optind != 1)
			qcf_tool_usage_error("Expecting one image file name");
		else if (qcf_image_args_take(&r.image, argv[optind]))
			status = run(&r);
	}
	qcf_image_args_fini(&r.image);
	return status;
}
