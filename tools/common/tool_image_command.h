/* SPDX-License-Identifier: MIT */
/*
 * tool_image_command.h - what commands that work on one image have in common
 *
 * A command puts QCF_OPTION_FORMAT and the like into its table of options; what
 * they say goes to struct qcf_image_args, and the command's own take() does not
 * hear of them.  The rest is a frame around its work:
 *
 *	static const struct qcf_image_command command = {
 *		{ "FILE", "Do something to an image.", options },
 *		take_option, do_something
 *	};
 *
 *	int qcf_img_something(int argc, char **argv)
 *	{
 *		struct request r = { 0 };
 *
 *		return qcf_image_command_run(&command, &r.image, &r, argc, argv);
 *	}
 *
 * A command with other operands does the steps of it itself:
 * qcf_image_args_parse(), qcf_image_args_take(), qcf_image_args_work() and, in
 * every case, qcf_image_args_fini().
 */
#ifndef QCF_TOOL_IMAGE_COMMAND_H
#define QCF_TOOL_IMAGE_COMMAND_H

#include "tool_open.h"
#include "tool_options.h"

struct qcf_image_args {
	struct qcf_tool_open
		open; /* flags may be set before and while parsing */
	struct qcf_image_opts opts;
	bool image_opts;
	bool quiet;
	bool progress;
	bool json; /* --output */
};

/* ------------------------------------------------- lines for option tables */

/* Codes of those that have no letter. */
enum {
	QCF_OPTION_SHARED_OBJECT = 2 * QCF_OPTION_LONG,
	QCF_OPTION_SHARED_IMAGE_OPTS,
	QCF_OPTION_SHARED_OUTPUT,
};

#define QCF_OPTION_FORMAT                                \
	{                                                \
		'f', "format", "FMT",                    \
			"format of the image (default: " \
			"probed)",                       \
			false, qcf_take_format           \
	}
#define QCF_OPTION_OBJECT                                                \
	{                                                                \
		QCF_OPTION_SHARED_OBJECT, "object", "OBJDEF",            \
			"define a secret, as in secret,id=ID,data=TEXT " \
			"or file=NAME",                                  \
			false, qcf_take_object                           \
	}
#define QCF_OPTION_IMAGE_OPTS                                     \
	{                                                         \
		QCF_OPTION_SHARED_IMAGE_OPTS, "image-opts", NULL, \
			"FILE is a list of options, as in "       \
			"driver=FMT,file.filename=NAME,...",      \
			false, qcf_take_image_opts                \
	}
#define QCF_OPTION_FORCE_SHARE                                         \
	{                                                              \
		'U', "force-share", NULL,                              \
			"open an image that others may change", false, \
			qcf_take_force_share                           \
	}
#define QCF_OPTION_QUIET                                               \
	{                                                              \
		'q', "quiet", NULL, "print nothing but errors", false, \
			qcf_take_quiet                                 \
	}
#define QCF_OPTION_PROGRESS                                    \
	{                                                      \
		'p', "progress", NULL, "show progress", false, \
			qcf_take_progress                      \
	}
#define QCF_OPTION_OUTPUT                                         \
	{                                                         \
		QCF_OPTION_SHARED_OUTPUT, "output", "human|json", \
			"what to print", false, qcf_take_output   \
	}
/* Of the image that is worked on ... */
#define QCF_OPTION_CACHE                                                    \
	{                                                                   \
		't', "cache", "MODE", QCF_CACHE_HELP, false, qcf_take_cache \
	}
/* ... and where the image is called the source. */
#define QCF_OPTION_SOURCE_CACHE                              \
	{                                                    \
		'T', "cache", "MODE", QCF_CACHE_HELP, false, \
			qcf_take_source_cache                \
	}
#define QCF_CACHE_HELP \
	"cache mode (none, writeback, unsafe, directsync, writethrough)"

/* What the lines above name; shared is a struct qcf_image_args. */
bool qcf_take_format(char *argument, void *shared);
bool qcf_take_object(char *argument, void *shared);
bool qcf_take_image_opts(char *argument, void *shared);
bool qcf_take_force_share(char *argument, void *shared);
bool qcf_take_quiet(char *argument, void *shared);
bool qcf_take_progress(char *argument, void *shared);
bool qcf_take_output(char *argument, void *shared);
bool qcf_take_cache(char *argument, void *shared);
bool qcf_take_source_cache(char *argument, void *shared);

/* --------------------------------------------------------------- the frame */

struct qcf_image_command {
	struct qcf_tool_command_help help;
	/* The options that are the command's own; NULL if there are none. */
	bool (*take)(int option, void *opaque);
	/* What to do with the image; returns the exit code. */
	int (*work)(struct qcowfmt_image *image, void *opaque);
};

/*
 * Parse the options; operands start at optind then.  If false, nothing is left
 * to do: --help was given, or there was a message; *status is the exit code.
 */
bool qcf_image_args_parse(struct qcf_image_args *args,
                          const struct qcf_image_command *command, void *opaque,
                          int argc, char **argv, int *status);

/* Let an operand be the image.  False with a message. */
bool qcf_image_args_take(struct qcf_image_args *args, const char *operand);

/*
 * Open the image, work on it, and close it.  Returns the exit code, which is
 * EXIT_FAILURE, after a message, if the image could not be opened or closed.
 */
int qcf_image_args_work(const struct qcf_image_args *args,
                        int (*work)(struct qcowfmt_image *image, void *opaque),
                        void *opaque);

void qcf_image_args_fini(struct qcf_image_args *args);

/* All of it, for a command whose only operand is the image. */
int qcf_image_command_run(const struct qcf_image_command *command,
                          struct qcf_image_args *args, void *opaque, int argc,
                          char **argv);

#endif
