/* SPDX-License-Identifier: MIT */
/*
 * img_dehydrate.c - "qcow-img dehydrate": copy the metadata of an image and nothing
 * else
 *
 * QEMU's program has nothing like it.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "img_command.h"
#include "tool_error.h"
#include "tool_options.h"

#define OPTION_NO_NAMES (QCF_OPTION_LONG + 1)

static const struct qcf_tool_option options[] = {
	{ OPTION_NO_NAMES, "no-names", NULL,
	  "replace names of files, snapshots and bitmaps", false },
	QCF_OPTIONS_END
};

static const struct qcf_tool_command_help help = {
	"SOURCE TARGET",
	"Copy the tables of an image into a sparse file without guest data, VM "
	"state,\ncontent of bitmaps or key material, to go with a bug report.",
	options
};

static bool take_option(int option, void *opaque)
{
	uint32_t *flags = opaque;

	if (option == OPTION_NO_NAMES)
		*flags |= QCOWFMT_DEHYDRATE_NO_NAMES;
	return true;
}

static struct qcowfmt_storage *open_storage(const char *path, uint32_t flags)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct qcowfmt_file_options o = {
		.struct_size = sizeof(o),
		.flags = flags,
	};
	struct qcowfmt_storage *storage = NULL;

	if (qcowfmt_storage_open_file(path, &o, &storage, &error) < 0)
		qcf_tool_error("Could not open '%s': %s", path,
		               qcowfmt_error_message(error));
	return storage;
}

static bool dehydrate(struct qcowfmt_storage *source, const char *target_path,
                      uint32_t flags)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	bool is_new = access(target_path, F_OK) < 0;
	struct qcowfmt_storage *target =
		open_storage(target_path, QCOWFMT_FILE_CREATE);
	bool done;

	if (target == NULL)
		return false;
	done = qcowfmt_dehydrate(source, target, flags, &error) == 0;
	if (!done)
		qcf_tool_error("%s", qcowfmt_error_message(error));
	qcowfmt_storage_free(target);
	/* Nobody should take a part for a copy. */
	if (!done && is_new)
		(void)unlink(target_path);
	return done;
}

/* Making the target empties it, so it must be another file. */
static bool is_same_file(const char *a, const char *b)
{
	char *real_a = realpath(a, NULL);
	char *real_b = realpath(b, NULL);
	bool same =
		real_a != NULL && real_b != NULL && strcmp(real_a, real_b) == 0;

	free(real_a);
	free(real_b);
	return same;
}

int qcf_img_dehydrate(int argc, char **argv)
{
	uint32_t flags = 0;
	int option = qcf_options_parse(&help, argc, argv, take_option, &flags);
	struct qcowfmt_storage *source;
	bool done;

	if (option == QCF_OPTION_HELP)
		return EXIT_SUCCESS;
	if (option != QCF_OPTION_DONE)
		return EXIT_FAILURE;
	if (argc - optind != 2) {
		qcf_tool_usage_error("Expecting the names of two files");
		return EXIT_FAILURE;
	}
	if (is_same_file(argv[optind], argv[optind + 1])) {
		qcf_tool_error("'%s' cannot be its own copy", argv[optind]);
		return EXIT_FAILURE;
	}
	source = open_storage(argv[optind],
	                      QCOWFMT_FILE_READ_ONLY | QCOWFMT_FILE_NO_LOCK);
	if (source == NULL)
		return EXIT_FAILURE;
	done = dehydrate(source, argv[optind + 1], flags);
	qcowfmt_storage_free(source);
	return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
