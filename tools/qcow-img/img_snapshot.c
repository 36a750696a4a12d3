/* SPDX-License-Identifier: MIT */
/*
 * img_snapshot.c - "qcow-img snapshot": list, take, apply or delete the internal
 * snapshots of an image
 *
 * Going back looks for an id first and then for a name; deleting looks for names
 * only.
 */
#include <errno.h>
#include <string.h>

#include "img_command.h"
#include "img_snapshot_list.h"
#include "tool_error.h"
#include "tool_image_command.h"

static const struct qcf_tool_option options[] = {
	{ 'l', "list", NULL, "list the snapshots (default)", false },
	{ 'c', "create", "NAME", "take a snapshot", false },
	{ 'a', "apply", "NAME", "go back to the snapshot of this id or name",
	  false },
	{ 'd', "delete", "NAME", "delete the snapshot of this name", false },
	QCF_OPTION_FORCE_SHARE,
	QCF_OPTION_QUIET,
	QCF_OPTION_OBJECT,
	QCF_OPTION_IMAGE_OPTS,
	QCF_OPTIONS_END
};

struct request {
	struct qcf_image_args image;
	int action; /* the letter of its option; 0 = list */
	const char *name;
};

static bool take_option(int option, void *opaque)
{
	struct request *r = opaque;

	if (r->action != 0) {
		qcf_tool_usage_error("Cannot mix '-l', '-a', '-c', '-d'");
		return false;
	}
	r->action = option;
	r->name = optarg;
	return true;
}

/* QEMU's programs have no number of their own for a count that is too narrow. */
static int their_number(int ret)
{
	return ret == -EOVERFLOW ? -EINVAL : ret;
}

static void explain_create(const struct request *r, int ret)
{
	ret = their_number(ret);
	qcf_tool_error("Could not create snapshot '%s': %d (%s)", r->name, ret,
	               strerror(-ret));
}

static void explain_apply(const struct request *r, int ret,
                          const struct qcowfmt_error *error)
{
	if (ret == -ENOENT || ret == -EOVERFLOW)
		qcf_tool_error("Could not apply snapshot '%s': Failed to load "
		               "snapshot: %s",
		               r->name, strerror(-their_number(ret)));
	else
		qcf_tool_error("Could not apply snapshot '%s': %s", r->name,
		               qcowfmt_error_message(error));
}

static void explain_delete(const struct request *r, int ret,
                           const struct qcowfmt_error *error)
{
	qcf_tool_error("Could not delete snapshot '%s': %s", r->name,
	               ret == -ENOENT ? "snapshot not found"
	                              : qcowfmt_error_message(error));
}

static void explain(const struct request *r, int ret,
                    const struct qcowfmt_error *error)
{
	switch (r->action) {
	case 'c':
		explain_create(r, ret);
		break;
	case 'a':
		explain_apply(r, ret, error);
		break;
	case 'd':
		explain_delete(r, ret, error);
		break;
	default:
		qcf_tool_error("%s", qcowfmt_error_message(error));
		break;
	}
}

static int apply(const struct request *r, struct qcowfmt_image *image,
                 struct qcowfmt_error **error)
{
	int ret = qcowfmt_snapshot_apply(image, r->name, NULL, error);

	if (ret != -ENOENT)
		return ret;
	qcowfmt_error_free(*error);
	*error = NULL;
	return qcowfmt_snapshot_apply(image, NULL, r->name, error);
}

/* As much of a name as QEMU's programs keep. */
#define MAX_NAME 255

static int create(const struct request *r, struct qcowfmt_image *image,
                  struct qcowfmt_error **error)
{
	QCF_AUTO_FREE char *name = qcf_tool_printf("%.*s", MAX_NAME, r->name);
	struct qcowfmt_snapshot_options how = {
		.struct_size = sizeof(how),
		.name = name,
	};

	if (strlen(r->name) > MAX_NAME)
		qcf_tool_warning("The name of the snapshot is cut to %d bytes",
		                 MAX_NAME);
	return qcowfmt_snapshot_create(image, &how, error);
}

static int act(const struct request *r, struct qcowfmt_image *image,
               struct qcowfmt_error **error)
{
	switch (r->action) {
	case 'c':
		return create(r, image, error);
	case 'a':
		return apply(r, image, error);
	case 'd':
		return qcowfmt_snapshot_delete(image, NULL, r->name, error);
	default:
		return qcf_print_snapshots(image, error);
	}
}

static int run(struct qcowfmt_image *image, void *opaque)
{
	const struct request *r = opaque;
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	int ret = act(r, image, &error);

	if (ret < 0)
		explain(r, ret, error);
	return ret < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static const struct qcf_image_command command = {
	{ "FILE", "Work with the internal snapshots of an image.", options },
	take_option,
	run,
};

static int work(struct request *r)
{
	bool lists = r->action == 0 || r->action == 'l';

	r->image.open.flags |=
		lists ? QCOWFMT_OPEN_NO_DATA : QCOWFMT_OPEN_READ_WRITE;
	return qcf_image_args_work(&r->image, run, r);
}

int qcf_img_snapshot(int argc, char **argv)
{
	/* Snapshots need nothing of other files. */
	struct request r = {
		.image.open = { .no_references = true, .in_order = true },
	};
	int status;

	if (qcf_image_args_parse(&r.image, &command, &r, argc, argv, &status)) {
		status = EXIT_FAILURE;
		if (argc - optind != 1)
			qcf_tool_usage_error("Expecting one image file name");
		else if (qcf_image_args_take(&r.image, argv[optind]))
			status = work(&r);
	}
	qcf_image_args_fini(&r.image);
	return status;
}
