/* SPDX-License-Identifier: MIT */
/* tool_image_command.c - what commands that work on one image have in common */
#include "tool_image_command.h"

#include <string.h>

#include "tool_error.h"
#include "tool_secret.h"

/* ----------------------------------------------------------------- options */

bool qcf_take_format(char *argument, void *shared)
{
	struct qcf_image_args *args = shared;

	args->open.format = argument;
	return true;
}

bool qcf_take_object(char *argument, void *shared)
{
	(void)shared;
	return qcf_secret_define(argument);
}

bool qcf_take_image_opts(char *argument, void *shared)
{
	struct qcf_image_args *args = shared;

	(void)argument;
	args->image_opts = true;
	return true;
}

bool qcf_take_force_share(char *argument, void *shared)
{
	struct qcf_image_args *args = shared;

	(void)argument;
	args->open.flags |= QCOWFMT_OPEN_NO_LOCK;
	return true;
}

bool qcf_take_quiet(char *argument, void *shared)
{
	struct qcf_image_args *args = shared;

	(void)argument;
	args->quiet = true;
	return true;
}

bool qcf_take_progress(char *argument, void *shared)
{
	struct qcf_image_args *args = shared;

	(void)argument;
	args->progress = true;
	return true;
}

bool qcf_take_output(char *argument, void *shared)
{
	struct qcf_image_args *args = shared;

	args->json = strcmp(argument, "json") == 0;
	if (args->json || strcmp(argument, "human") == 0)
		return true;
	qcf_tool_error("--output must be used with human or json as argument.");
	return false;
}

bool qcf_take_cache(char *argument, void *shared)
{
	struct qcf_image_args *args = shared;

	if (qcf_parse_cache_mode(argument, &args->open.cache))
		return true;
	qcf_tool_error("Invalid cache option: %s", argument);
	return false;
}

bool qcf_take_source_cache(char *argument, void *shared)
{
	struct qcf_image_args *args = shared;

	if (qcf_parse_cache_mode(argument, &args->open.cache))
		return true;
	qcf_tool_error("Invalid source cache option: %s", argument);
	return false;
}

/* --------------------------------------------------------------- the frame */

bool qcf_image_args_parse(struct qcf_image_args *args,
                          const struct qcf_image_command *command, void *opaque,
                          int argc, char **argv, int *status)
{
	int option = qcf_options_parse_shared(&command->help, argc, argv,
	                                      command->take, opaque, args);

	*status = option == QCF_OPTION_HELP ? EXIT_SUCCESS : EXIT_FAILURE;
	return option == QCF_OPTION_DONE;
}

bool qcf_image_args_take(struct qcf_image_args *args, const char *operand)
{
	return qcf_tool_take_image(&args->open, &args->opts, args->image_opts,
	                           operand);
}

int qcf_image_args_work(const struct qcf_image_args *args,
                        int (*work)(struct qcowfmt_image *image, void *opaque),
                        void *opaque)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	QCF_AUTO_FREE char *reason = NULL;
	const char *name = args->open.path;
	struct qcowfmt_image *image;
	int status;

	if (qcf_tool_open(&args->open, &image, &reason) < 0) {
		qcf_tool_error("Could not open '%s': %s", name, reason);
		return EXIT_FAILURE;
	}
	status = work(image, opaque);
	if (qcowfmt_close(image, &error) == 0)
		return status;
	qcf_tool_error("%s: %s", name, qcowfmt_error_message(error));
	return EXIT_FAILURE;
}

void qcf_image_args_fini(struct qcf_image_args *args)
{
	qcf_image_opts_fini(&args->opts);
}

int qcf_image_command_run(const struct qcf_image_command *command,
                          struct qcf_image_args *args, void *opaque, int argc,
                          char **argv)
{
	int status;

	if (qcf_image_args_parse(args, command, opaque, argc, argv, &status)) {
		status = EXIT_FAILURE;
		if (argc - optind != 1)
			qcf_tool_usage_error("Expecting one image file name");
		else if (qcf_image_args_take(args, argv[optind]))
			status = qcf_image_args_work(args, command->work,
			                             opaque);
	}
	qcf_image_args_fini(args);
	return status;
}
