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
#include "img_output.h"
#include "img_snapshot_list.h"
#include "tool_error.h"
#include "tool_format_info.h"
#include "tool_json.h"
#include "tool_open.h"
#include "tool_options.h"
#include "tool_secret.h"
#include "tool_size.h"

#define OPTION_OBJECT        (QCF_OPTION_LONG + 1)
#define OPTION_IMAGE_OPTS    (QCF_OPTION_LONG + 2)
#define OPTION_OUTPUT        (QCF_OPTION_LONG + 3)
#define OPTION_BACKING_CHAIN (QCF_OPTION_LONG + 4)
#define OPTION_LIMITS        (QCF_OPTION_LONG + 5)

static const struct qcf_tool_option options[] = {
	{ 'f', "format", "FMT", "format of the image (default: probed)",
	  false },
	{ OPTION_BACKING_CHAIN, "backing-chain", NULL,
	  "also show the images below it", false },
	{ 't', "cache", "MODE",
	  "cache mode (none, writeback, unsafe, directsync, writethrough)",
	  false },
	{ 'U', "force-share", NULL, "open an image that others may change",
	  false },
	{ OPTION_OUTPUT, "output", "human|json", "what to print", false },
	{ OPTION_LIMITS, "limits", NULL, NULL, true },
	{ OPTION_OBJECT, "object", "OBJDEF",
	  "define a secret, as in secret,id=ID,data=TEXT or file=NAME", false },
	{ OPTION_IMAGE_OPTS, "image-opts", NULL,
	  "FILE is a list of options, as in driver=FMT,file.filename=NAME,...",
	  false },
	QCF_OPTIONS_END
};

static const struct qcf_tool_command_help help = {
	"FILE", "Show what an image says about itself.", options
};

struct request {
	struct qcf_tool_open open;
	struct qcf_image_opts opts;
	bool image_opts;
	bool chain;
	bool json;
};

/* One image of the chain. */
struct node {
	struct qcowfmt_image *image;
	struct qcf_image_facts facts;
	char *name; /* to be shown */
	/* Which file it is, to notice a chain that bites its own tail. */
	dev_t dev;
	ino_t ino;
};

#define MAX_CHAIN 4096

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
	case 't':
		return take_cache(optarg, r);
	case 'U':
		r->open.flags |= QCOWFMT_OPEN_NO_LOCK;
		break;
	case OPTION_BACKING_CHAIN:
		r->chain = true;
		break;
	case OPTION_OUTPUT:
		return qcf_parse_output(optarg, &r->json);
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

/* ------------------------------------------------------------------- human */

static void print_size(const char *label, uint64_t size)
{
	char text[QCF_SIZE_TEXT];

	printf("%s: %s (%" PRIu64 " bytes)\n", label,
	       qcf_format_size(text, size), size);
}

static void print_backing(const struct qcowfmt_info *info)
{
	if (info->backing_filename == NULL)
		return;
	printf("backing file: %s", info->backing_filename);
	if (info->full_backing_filename == NULL)
		printf(" (cannot determine actual path)");
	else if (strcmp(info->backing_filename, info->full_backing_filename) !=
	         0)
		printf(" (actual path: %s)", info->full_backing_filename);
	putchar('\n');
	if (info->backing_format != NULL)
		printf("backing file format: %s\n", info->backing_format);
}

/* The file that the image lies in, whose length counts in sectors. */
static void print_file_node(const struct qcowfmt_info *info)
{
	char text[QCF_SIZE_TEXT];

	puts("Child node '/file':");
	printf("    filename: %s\n", info->filename);
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
	char text[QCF_SIZE_TEXT];

	printf("image: %s\n", node->name);
	printf("file format: %s\n", qcowfmt_format_name(info->format));
	print_size("virtual size", info->virtual_size);
	printf("disk size: %s\n", qcf_format_size(text, info->allocated_size));
	if ((info->flags & QCOWFMT_INFO_ENCRYPTED) != 0)
		puts("encrypted: yes");
	if (info->cluster_size != 0)
		printf("cluster_size: %" PRIu64 "\n", info->cluster_size);
	if ((info->flags & QCOWFMT_INFO_DIRTY) != 0)
		puts("cleanly shut down: no");
	print_backing(info);
	report(qcf_print_snapshots(node->image, &error), error);
	qcf_print_format_info(&node->facts);
	print_file_node(info);
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

	qcf_json_begin_object(json, NULL);
	json_file_node(json, info);
	json_optional(json, "backing-filename-format", info->backing_format);
	report(qcf_json_snapshots(json, node->image, &error), error);
	qcf_json_number(json, "virtual-size", info->virtual_size);
	qcf_json_string(json, "filename", node->name);
	if (info->cluster_size != 0)
		qcf_json_number(json, "cluster-size", info->cluster_size);
	qcf_json_string(json, "format", qcowfmt_format_name(info->format));
	qcf_json_number(json, "actual-size", info->allocated_size);
	qcf_json_format_info(json, &node->facts);
	json_optional(json, "full-backing-filename",
	              info->full_backing_filename);
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
			qcf_tool_error("Backing file '%s' creates an infinite "
			               "loop.",
			               path);
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

/*
 * The name to show.  QEMU's programs show all of a description if the content
 * depends on more of it than the file.
 */
static char *make_name(const struct qcowfmt_info *info,
                       const struct qcf_image_opts *opts)
{
	const char *secret =
		opts != NULL ? qcf_image_opts_secret(opts, 0) : NULL;

	if (secret == NULL || !is_plain(secret) || !is_plain(info->filename))
		return qcf_tool_printf("%s", info->filename);
	return qcf_tool_printf("json:{\"encrypt.key-secret\": \"%s\", "
	                       "\"driver\": \"%s\", \"file\": {\"driver\": "
	                       "\"file\", \"filename\": \"%s\"}}",
	                       secret, qcowfmt_format_name(info->format),
	                       info->filename);
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
		qcf_tool_error("Could not open '%s': %s", open->path, reason);
		return false;
	}
	chain->count++;
	if (qcf_get_facts(node->image, &node->facts, &error) < 0) {
		qcf_tool_error("Could not open '%s': %s", open->path,
		               qcowfmt_error_message(error));
		return false;
	}
	node->name = make_name(&node->facts.info, open->opts);
	return true;
}

static bool open_chain(struct chain *chain, const struct request *r)
{
	struct qcf_tool_open next = r->open;
	const char *path = r->image_opts ? r->opts.path : r->open.path;

	for (;;) {
		const struct qcowfmt_info *info;

		if (!add_image(chain, &next, path))
			return false;
		info = &chain->nodes[chain->count - 1].facts.info;
		if (!r->chain || info->full_backing_filename == NULL)
			return true;
		path = info->full_backing_filename;
		next.path = path;
		next.format = info->backing_format;
		next.opts = NULL;
	}
}

static void print_chain(const struct chain *chain, const struct request *r)
{
	struct qcf_json json = { 0 };
	size_t i;

	if (r->json && r->chain)
		qcf_json_begin_array(&json, NULL);
	for (i = 0; i < chain->count; i++) {
		warn(&chain->nodes[i].facts.info, !r->json);
		if (r->json) {
			print_json(&json, &chain->nodes[i]);
			continue;
		}
		if (i > 0)
			putchar('\n');
		print_human(&chain->nodes[i]);
	}
	if (r->json && r->chain)
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

int qcf_img_info(int argc, char **argv)
{
	struct request r = {
		.open = { .flags = QCOWFMT_OPEN_NO_DATA,
		          .no_references = true },
	};
	int option = qcf_options_parse(&help, argc, argv, take_option, &r);
	int status = EXIT_FAILURE;

	if (option == QCF_OPTION_HELP)
		return EXIT_SUCCESS;
	if (option != QCF_OPTION_DONE)
		return EXIT_FAILURE;
	if (argc - optind != 1) {
		qcf_tool_usage_error("Expecting one image file name");
		return EXIT_FAILURE;
	}
	if (qcf_tool_take_image(&r.open, &r.opts, r.image_opts, argv[optind]))
		status = run(&r);
	qcf_image_opts_fini(&r.opts);
	return status;
}
