/* SPDX-License-Identifier: MIT */
/*
 * io_command.h - the commands of qcow-io and how a line becomes one
 */
#ifndef QCF_IO_COMMAND_H
#define QCF_IO_COMMAND_H

#include "io_session.h"

struct io_command {
	const char *name;
	const char *alias;     /* one-letter name, or NULL */
	const char *arguments; /* as usage shows them, or NULL */
	const char *summary;
	const char *help; /* what "help NAME" adds, or NULL */
	/* Returns whether it succeeded.  argv[0] is the name of the command.
	 * NULL: known, but not supported by this version. */
	bool (*run)(struct io_session *session, int argc, char **argv);
	int min_args;
	int max_args; /* -1: any number */
	bool needs_image;
	bool writes;
	bool beside_aio; /* aio requests need not be complete before it */
};

/* Run one line; an empty one succeeds. */
bool qcf_io_run_line(struct io_session *session, const char *line);

/*
 * The options of a command: as for getopt(), and which of them are known but
 * not supported by this version.  take() gets each of the others, with its
 * argument in optarg; it returns false, after a message, to give up.
 */
struct io_options {
	const char *letters;
	const char *refused;
	bool (*take)(int option, void *opaque);
};

/* False after a message.  Operands start at optind then. */
bool qcf_io_parse_options(const struct io_options *options, int argc,
                          char **argv, void *opaque);

/* Print how a command is used; returns false, for its caller to return. */
bool qcf_io_usage(const char *name);

bool qcf_io_cmd_abort(struct io_session *session, int argc, char **argv);
bool qcf_io_cmd_aio_flush(struct io_session *session, int argc, char **argv);
bool qcf_io_cmd_aio_read(struct io_session *session, int argc, char **argv);
bool qcf_io_cmd_aio_write(struct io_session *session, int argc, char **argv);
bool qcf_io_cmd_alloc(struct io_session *session, int argc, char **argv);
bool qcf_io_cmd_close(struct io_session *session, int argc, char **argv);
bool qcf_io_cmd_discard(struct io_session *session, int argc, char **argv);
bool qcf_io_cmd_flush(struct io_session *session, int argc, char **argv);
bool qcf_io_cmd_help(struct io_session *session, int argc, char **argv);
bool qcf_io_cmd_info(struct io_session *session, int argc, char **argv);
bool qcf_io_cmd_length(struct io_session *session, int argc, char **argv);
bool qcf_io_cmd_map(struct io_session *session, int argc, char **argv);
bool qcf_io_cmd_open(struct io_session *session, int argc, char **argv);
bool qcf_io_cmd_quit(struct io_session *session, int argc, char **argv);
bool qcf_io_cmd_read(struct io_session *session, int argc, char **argv);
bool qcf_io_cmd_readv(struct io_session *session, int argc, char **argv);
bool qcf_io_cmd_reopen(struct io_session *session, int argc, char **argv);
bool qcf_io_cmd_sigraise(struct io_session *session, int argc, char **argv);
bool qcf_io_cmd_sleep(struct io_session *session, int argc, char **argv);
bool qcf_io_cmd_truncate(struct io_session *session, int argc, char **argv);
bool qcf_io_cmd_write(struct io_session *session, int argc, char **argv);
bool qcf_io_cmd_writev(struct io_session *session, int argc, char **argv);

#endif
