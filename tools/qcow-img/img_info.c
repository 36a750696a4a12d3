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
#include "tool_error.h"
#include "tool_format_info.h"
#include "tool_json.h"
#include "tool_open.h"
#include "tool_options.h"
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
	{ OPTION_OBJECT, "object", "OBJDEF", NULL, true },
	{ OPTION_IMAGE_OPTS, "image-opts", NULL, NULL, true },
	QCF_OPTIONS_END
};

static const struct qcf_tool_command_help help = {
	"FILE", "Show what an image says about itself.", options
};

struct request {
	struct qcf_tool_open open;
	bool chain;
	bool json;
};

/* Images seen, to notice a chain that bites its own tail. */
struct seen {
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

static void print_human(const struct qcowfmt_info *info)
{
	char text[QCF_SIZE_TEXT];

	printf("image: %s\n", info->filename);
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
	qcf_print_format_info(info);
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
static void print_json(struct qcf_json *json, const struct qcowfmt_info *info)
{
	qcf_json_begin_object(json, NULL);
	json_file_node(json, info);
	json_optional(json, "backing-filename-format", info->backing_format);
	qcf_json_number(json, "virtual-size", info->virtual_size);
	qcf_json_string(json, "filename", info->filename);
	if (info->cluster_size != 0)
		qcf_json_number(json, "cluster-size", info->cluster_size);
	qcf_json_string(json, "format", qcowfmt_format_name(info->format));
	qcf_json_number(json, "actual-size", info->allocated_size);
	qcf_json_format_info(json, info);
	json_optional(json, "full-backing-filename",
	              info->full_backing_filename);
	if ((info->flags & QCOWFMT_INFO_ENCRYPTED) != 0)
		qcf_json_bool(json, "encrypted", true);
	json_optional(json, "backing-filename", info->backing_filename);
	qcf_json_bool(json, "dirty-flag",
	              (info->flags & QCOWFMT_INFO_DIRTY) != 0);
	qcf_json_end_object(json);
}

/* ---------------------------------------------------------- what is missing */

/* Autoclear feature: the image has a valid bitmap directory. */
#define AUTOCLEAR_BITMAPS 0x1u

/* Nobody should take silence for the answer that there are none. */
static void warn_not_listed(const struct qcowfmt_info *info)
{
	if (info->snapshot_count > 0)
		qcf_tool_warning("%s: listing its %u snapshots is not "
		                 "supported by this version",
		                 info->filename, info->snapshot_count);
	if ((info->autoclear_features & AUTOCLEAR_BITMAPS) != 0)
		qcf_tool_warning("%s: listing its bitmaps is not supported by "
		                 "this version",
		                 info->filename);
}

/* ------------------------------------------------------------------- chain */

struct chain {
	struct qcowfmt_image *images[MAX_CHAIN];
	struct qcowfmt_info infos[MAX_CHAIN];
	struct seen seen[MAX_CHAIN];
	size_t count;
};

static bool note_file(struct chain *chain, const char *path)
{
	struct seen *now = &chain->seen[chain->count];
	struct stat st;
	size_t i;

	if (stat(path, &st) < 0)
		return true;
	now->dev = st.st_dev;
	now->ino = st.st_ino;
	for (i = 0; i < chain->count; i++) {
		if (chain->seen[i].dev == st.st_dev &&
		    chain->seen[i].ino == st.st_ino) {
			qcf_tool_error("Backing file '%s' creates an infinite "
			               "loop.",
			               path);
			return false;
		}
	}
	return true;
}

/* Open one more image and read what it says. */
static bool add_image(struct chain *chain, const struct qcf_tool_open *open)
{
	struct qcowfmt_info *info = &chain->infos[chain->count];
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	QCF_AUTO_FREE char *reason = NULL;
	struct qcowfmt_image *image;

	if (chain->count == MAX_CHAIN) {
		qcf_tool_error("The backing chain is longer than %d images",
		               MAX_CHAIN);
		return false;
	}
	if (!note_file(chain, open->path))
		return false;
	if (qcf_tool_open(open, &image, &reason) < 0) {
		qcf_tool_error("Could not open '%s': %s", open->path, reason);
		return false;
	}
	chain->images[chain->count++] = image;
	info->struct_size = sizeof(*info);
	if (qcowfmt_get_info(image, 0, info, &error) < 0) {
		qcf_tool_error("Could not open '%s': %s", open->path,
		               qcowfmt_error_message(error));
		return false;
	}
	return true;
}

static bool open_chain(struct chain *chain, const struct request *r)
{
	struct qcf_tool_open next = r->open;

	for (;;) {
		const struct qcowfmt_info *info;

		if (!add_image(chain, &next))
			return false;
		info = &chain->infos[chain->count - 1];
		if (!r->chain || info->full_backing_filename == NULL)
			return true;
		next.path = info->full_backing_filename;
		next.format = info->backing_format;
	}
}

static void print_chain(const struct chain *chain, const struct request *r)
{
	struct qcf_json json = { 0 };
	size_t i;

	if (r->json && r->chain)
		qcf_json_begin_array(&json, NULL);
	for (i = 0; i < chain->count; i++) {
		warn_not_listed(&chain->infos[i]);
		if (r->json) {
			print_json(&json, &chain->infos[i]);
			continue;
		}
		if (i > 0)
			putchar('\n');
		print_human(&chain->infos[i]);
	}
	if (r->json && r->chain)
		qcf_json_end_array(&json);
}

static int run(const struct request *r)
{
	QCF_AUTO_FREE struct chain *chain = qcf_tool_alloc(sizeof(*chain));
	bool ok = open_chain(chain, r);

	if (ok)
		print_chain(chain, r);
	while (chain->count > 0)
		(void)qcowfmt_close(chain->images[--chain->count], NULL);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int qcf_img_info(int argc, char **argv)
{
	struct request r = { .open = { .no_references = true } };
	int option = qcf_options_parse(&help, argc, argv, take_option, &r);

	if (option == QCF_OPTION_HELP)
		return EXIT_SUCCESS;
	if (option != QCF_OPTION_DONE)
		return EXIT_FAILURE;
	if (argc - optind != 1) {
		qcf_tool_usage_error("Expecting one image file name");
		return EXIT_FAILURE;
	}
	r.open.path = argv[optind];
	return run(&r);
}
