/* SPDX-License-Identifier: MIT */
/* img_check.c - "qcow-img check": check the consistency of an image */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "img_command.h"
#include "img_output.h"
#include "tool_error.h"
#include "tool_json.h"
#include "tool_open.h"
#include "tool_options.h"
#include "tool_secret.h"

#define EXIT_CORRUPT     2
#define EXIT_LEAKS       3
#define EXIT_UNSUPPORTED 63

#define OPTION_OBJECT     (QCF_OPTION_LONG + 1)
#define OPTION_IMAGE_OPTS (QCF_OPTION_LONG + 2)
#define OPTION_OUTPUT     (QCF_OPTION_LONG + 3)
#define OPTION_PLAN       (QCF_OPTION_LONG + 4)

static const struct qcf_tool_option options[] = {
	{ 'f', "format", "FMT", "format of the image (default: probed)",
	  false },
	{ 'r', "repair", "leaks|all", "repair what is found", false },
	{ OPTION_PLAN, "plan", NULL,
	  "with -r: show what would be repaired, and change nothing", false },
	{ 'T', "cache", "MODE",
	  "cache mode (none, writeback, unsafe, directsync, writethrough)",
	  false },
	{ 'U', "force-share", NULL, "open an image that others may change",
	  false },
	{ OPTION_OUTPUT, "output", "human|json", "what to print", false },
	{ 'q', "quiet", NULL, "print nothing but findings and errors", false },
	{ OPTION_OBJECT, "object", "OBJDEF",
	  "define a secret, as in secret,id=ID,data=TEXT or file=NAME", false },
	{ OPTION_IMAGE_OPTS, "image-opts", NULL,
	  "FILE is a list of options, as in driver=FMT,file.filename=NAME,...",
	  false },
	QCF_OPTIONS_END
};

static const struct qcf_tool_command_help help = {
	"FILE", "Check the consistency of an image.", options
};

struct request {
	struct qcf_tool_open open;
	struct qcf_image_opts opts;
	bool image_opts;
	uint32_t repair; /* QCOWFMT_CHECK_REPAIR_* */
	bool plan;       /* only show what it would do */
	bool json;
	bool quiet;
};

static bool take_repair(const char *name, struct request *r)
{
	if (strcmp(name, "leaks") == 0) {
		r->repair = QCOWFMT_CHECK_REPAIR_LEAKS;
	} else if (strcmp(name, "all") == 0) {
		r->repair = QCOWFMT_CHECK_REPAIR_ALL;
	} else {
		qcf_tool_usage_error("Unknown option value for -r (expecting "
		                     "'leaks' or 'all'): %s",
		                     name);
		return false;
	}
	return true;
}

static bool take_cache(const char *name, struct request *r)
{
	if (qcf_parse_cache_mode(name, &r->open.cache))
		return true;
	qcf_tool_error("Invalid source cache option: %s", name);
	return false;
}

static bool take_option(int option, void *opaque)
{
	struct request *r = opaque;

	switch (option) {
	case 'f':
		r->open.format = optarg;
		break;
	case 'r':
		return take_repair(optarg, r);
	case 'T':
		return take_cache(optarg, r);
	case 'U':
		r->open.flags |= QCOWFMT_OPEN_NO_LOCK;
		break;
	case OPTION_PLAN:
		r->plan = true;
		break;
	case OPTION_OUTPUT:
		return qcf_parse_output(optarg, &r->json);
	case 'q':
		r->quiet = true;
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

static void print_finding(void *opaque, uint32_t corruption_id,
                          uint64_t host_offset, const char *message)
{
	(void)opaque;
	(void)corruption_id;
	(void)host_offset;
	fprintf(stderr, "%s\n", message);
}

/* ----------------------------------------------------------------- results */

static void json_nonzero(struct qcf_json *json, const char *name,
                         uint64_t value)
{
	if (value != 0)
		qcf_json_number(json, name, value);
}

/* The members stand in the order of QEMU's program. */
static void print_json(const struct qcowfmt_check_result *c,
                       const char *filename)
{
	struct qcf_json json = { 0 };

	qcf_json_begin_object(&json, NULL);
	json_nonzero(&json, "image-end-offset", c->image_end_offset);
	json_nonzero(&json, "compressed-clusters", c->compressed_clusters);
	json_nonzero(&json, "total-clusters", c->total_clusters);
	json_nonzero(&json, "corruptions", c->corruptions);
	json_nonzero(&json, "corruptions-fixed", c->corruptions_fixed);
	qcf_json_number(&json, "check-errors", c->check_errors);
	json_nonzero(&json, "leaks", c->leaks);
	json_nonzero(&json, "leaks-fixed", c->leaks_fixed);
	json_nonzero(&json, "allocated-clusters", c->allocated_clusters);
	qcf_json_string(&json, "filename", filename);
	qcf_json_string(&json, "format", "qcow2");
	json_nonzero(&json, "fragmented-clusters", c->fragmented_clusters);
	qcf_json_end_object(&json);
}

static double percent(uint64_t part, uint64_t whole)
{
	return (double)part * 100.0 / (double)whole;
}

static void print_statistics(const struct qcowfmt_check_result *c)
{
	/* Shares of the allocated clusters are 0 where there are none. */
	uint64_t allocated = qcf_max(c->allocated_clusters, 1);

	if (c->total_clusters != 0 && c->allocated_clusters != 0)
		printf("%" PRIu64 "/%" PRIu64 " = %.2f%% allocated, %.2f%% "
		       "fragmented, %.2f%% compressed clusters\n",
		       c->allocated_clusters, c->total_clusters,
		       percent(c->allocated_clusters, c->total_clusters),
		       percent(c->fragmented_clusters, allocated),
		       percent(c->compressed_clusters, allocated));
	if (c->image_end_offset != 0)
		printf("Image end offset: %" PRIu64 "\n", c->image_end_offset);
}

static void print_human(const struct qcowfmt_check_result *c)
{
	if (c->corruptions == 0 && c->leaks == 0 && c->check_errors == 0)
		puts("No errors were found on the image.");
	if (c->corruptions != 0)
		printf("\n%" PRIu64 " errors were found on the image.\n"
		       "Data may be corrupted, or further writes to the image "
		       "may corrupt it.\n",
		       c->corruptions);
	if (c->leaks != 0)
		printf("\n%" PRIu64 " leaked clusters were found on the "
		       "image.\n"
		       "This means waste of disk space, but no harm to "
		       "data.\n",
		       c->leaks);
	if (c->check_errors != 0)
		printf("\n%" PRIu64 " internal errors have occurred during the "
		       "check.\n",
		       c->check_errors);
	print_statistics(c);
}

/* What a repair would leave, and what it would do. */
static void print_plan(const struct qcowfmt_check_result *c)
{
	printf("A repair would see to:\n\n"
	       "    %" PRIu64 " leaked clusters\n"
	       "    %" PRIu64 " corruptions\n\n"
	       "and leave:\n\n"
	       "    %" PRIu64 " leaked clusters\n"
	       "    %" PRIu64 " corruptions\n\n"
	       "Nothing has been changed.\n",
	       c->leaks_fixed, c->corruptions_fixed, c->leaks, c->corruptions);
}

/* The image is as it was, so what would be repaired counts. */
static int exit_code_of_plan(const struct qcowfmt_check_result *c)
{
	if (c->check_errors != 0)
		return EXIT_FAILURE;
	if (c->corruptions != 0 || c->corruptions_fixed != 0)
		return EXIT_CORRUPT;
	return c->leaks != 0 || c->leaks_fixed != 0 ? EXIT_LEAKS : EXIT_SUCCESS;
}

static int exit_code(const struct qcowfmt_check_result *c)
{
	if (c->check_errors != 0)
		return EXIT_FAILURE;
	if (c->corruptions != 0)
		return EXIT_CORRUPT;
	return c->leaks != 0 ? EXIT_LEAKS : EXIT_SUCCESS;
}

/* ------------------------------------------------------------------- check */

static bool check_once(struct qcowfmt_image *image, uint32_t flags,
                       struct qcowfmt_check_result *c)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;

	*c = (struct qcowfmt_check_result){ .struct_size = sizeof(*c) };
	if (qcowfmt_check(image, flags, print_finding, NULL, c, &error) == 0)
		return true;
	qcf_tool_error("Check failed: %s",
	               strerror(qcowfmt_error_errno(error)));
	return false;
}

/*
 * After a repair the image is checked once more: what is left is in the second
 * result, what was repaired in the first.
 */
static bool check_again(struct qcowfmt_image *image, const struct request *r,
                        struct qcowfmt_check_result *c)
{
	struct qcowfmt_check_result first = *c;

	if (c->leaks_fixed == 0 && c->corruptions_fixed == 0)
		return true;
	if (!r->json && !r->quiet)
		printf("The following inconsistencies were found and "
		       "repaired:\n\n"
		       "    %" PRIu64 " leaked clusters\n"
		       "    %" PRIu64 " corruptions\n\n"
		       "Double checking the fixed image now...\n",
		       c->leaks_fixed, c->corruptions_fixed);
	(void)fflush(stdout);
	if (!check_once(image, 0, c))
		return false;
	c->leaks_fixed = first.leaks_fixed;
	c->corruptions_fixed = first.corruptions_fixed;
	return true;
}

static int plan(struct qcowfmt_image *image, const struct request *r)
{
	struct qcowfmt_check_result c;

	if (!check_once(image, r->repair | QCOWFMT_CHECK_PLAN, &c))
		return EXIT_FAILURE;
	if (!r->quiet && r->json)
		print_json(&c, r->open.path);
	else if (!r->quiet)
		print_plan(&c);
	return exit_code_of_plan(&c);
}

static int check(struct qcowfmt_image *image, const struct request *r)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct qcowfmt_check_result c;

	if (qcowfmt_get_info(image, 0, &info, &error) < 0) {
		qcf_tool_error("Check failed: %s",
		               strerror(qcowfmt_error_errno(error)));
		return EXIT_FAILURE;
	}
	if (info.format != QCOWFMT_FORMAT_QCOW2) {
		qcf_tool_error("This image format does not support checks");
		return EXIT_UNSUPPORTED;
	}
	if (r->plan)
		return plan(image, r);
	if (!check_once(image, r->repair, &c) || !check_again(image, r, &c))
		return EXIT_FAILURE;
	if (!r->quiet && r->json)
		print_json(&c, r->open.path);
	else if (!r->quiet)
		print_human(&c);
	return exit_code(&c);
}

static int run(const struct request *r)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	QCF_AUTO_FREE char *reason = NULL;
	struct qcowfmt_image *image;
	int status;

	if (qcf_tool_open(&r->open, &image, &reason) < 0) {
		qcf_tool_error("Could not open '%s': %s", r->open.path, reason);
		return EXIT_FAILURE;
	}
	status = check(image, r);
	if (qcowfmt_close(image, &error) < 0) {
		qcf_tool_error("%s: %s", r->open.path,
		               qcowfmt_error_message(error));
		return EXIT_FAILURE;
	}
	return status;
}

int qcf_img_check(int argc, char **argv)
{
	/* Metadata is all that counts, and it is in the image itself. */
	struct request r = { .open.no_references = true };
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
	r.open.flags |= QCOWFMT_OPEN_REPAIR;
	if (r.plan && r.repair == 0) {
		qcf_tool_usage_error("--plan needs -r");
		return EXIT_FAILURE;
	}
	if (r.repair != 0 && !r.plan)
		r.open.flags |= QCOWFMT_OPEN_READ_WRITE;
	if (qcf_tool_take_image(&r.open, &r.opts, r.image_opts, argv[optind]))
		status = run(&r);
	qcf_image_opts_fini(&r.opts);
	return status;
}
