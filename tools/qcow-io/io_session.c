/* SPDX-License-Identifier: MIT */
/* io_session.c - opening and closing the image that commands work on */
#include "io_session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "tool_error.h"

bool qcf_io_parse_cache(const char *name, struct io_settings *settings)
{
	if (qcf_parse_cache_mode(name, &settings->cache))
		return true;
	qcf_tool_error("Invalid cache option: %s", name);
	return false;
}

bool qcf_io_parse_discard(const char *name, struct io_settings *settings)
{
	bool ignore = strcmp(name, "ignore") == 0 || strcmp(name, "off") == 0;
	bool unmap = strcmp(name, "unmap") == 0 || strcmp(name, "on") == 0;

	settings->ignore_discard = ignore;
	if (ignore || unmap)
		return true;
	qcf_tool_error("Invalid discard option: %s", name);
	return false;
}

/*
 * Each command waits for its own input and output, so that the three modes
 * differ only in what native asks of the cache mode.
 */
bool qcf_io_parse_aio(const char *name, struct io_settings *settings)
{
	settings->native_aio = strcmp(name, "native") == 0;
	if (settings->native_aio || strcmp(name, "threads") == 0 ||
	    strcmp(name, "io_uring") == 0)
		return true;
	qcf_tool_error("Invalid aio option: %s", name);
	return false;
}

void qcf_io_free_opts(struct qcf_image_opts *opts)
{
	if (opts != NULL)
		qcf_image_opts_fini(opts);
	free(opts);
}

static const char *check_settings(const struct io_settings *s)
{
	if (s->native_aio && !s->cache.direct)
		return "aio=native was specified, but it requires "
		       "cache.direct=on, which was not specified.";
	if (s->force_share && !s->read_only)
		return "force-share=on can only be used with read-only images";
	if (s->copy_on_read && s->read_only)
		return "Can't use copy-on-read on read-only device";
	return NULL;
}

/* ---------------------------------------------------------------- snapshot */

/* A file without a name, gone with its descriptor. */
static int open_temporary_file(void)
{
	const char *directory = getenv("TMPDIR");
	QCF_AUTO_FREE char *path = NULL;
	int fd;

	if (directory == NULL || *directory == '\0')
		directory = "/var/tmp";
	fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
	path = qcf_tool_printf("%s/qcow-io.XXXXXX", directory);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		(void)unlink(path);
	return fd;
}

/* The base of the overlay: its absolute name, format and size. */
struct base {
	char *path;
	const char *format;
	uint64_t size;
};

/* The path of the file that an image lies in; NULL with the reason. */
static const char *find_path(const struct qcf_tool_open *request, char **reason)
{
	if (request->opts != NULL && request->opts->path != NULL)
		return request->opts->path;
	return qcf_tool_path(request->path, reason);
}

static char *look_at_base(const struct qcf_tool_open *request,
                          struct base *base)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	QCF_AUTO_IMAGE struct qcowfmt_image *image = NULL;
	char *reason = NULL;
	const char *path;

	if (qcf_tool_open(request, &image, &reason) < 0)
		return reason;
	path = find_path(request, &reason);
	base->path = realpath(path, NULL);
	if (base->path == NULL || qcowfmt_get_info(image, 0, &info, NULL) < 0)
		return qcf_tool_printf("Could not find '%s': %s", path,
		                       strerror(errno));
	base->format = qcowfmt_format_name(info.format);
	base->size = info.virtual_size;
	return NULL;
}

static int create_overlay(struct qcowfmt_storage *storage,
                          const struct base *base, struct qcowfmt_error **errp)
{
	struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.virtual_size = base->size,
		.format = QCOWFMT_FORMAT_QCOW2,
		.backing_filename = base->path,
		.backing_format = base->format,
	};

	return qcowfmt_create(storage, &create, errp);
}

/* Open the overlay in fd, which is made first if base is not NULL. */
static char *open_overlay(int fd, const struct base *base,
                          const struct io_settings *s,
                          struct qcowfmt_image **image)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct qcowfmt_open_options open = {
		.struct_size = sizeof(open),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = s->read_only ? 0 : QCOWFMT_OPEN_READ_WRITE,
		.discard_mode = s->ignore_discard ? QCOWFMT_DISCARD_IGNORE
		                                  : QCOWFMT_DISCARD_UNMAP,
	};
	/* What is said of the image is said of the overlay's backing file. */
	struct qcf_chain chain = {
		.how = { .direct = s->cache.direct, .no_lock = s->force_share },
		.opts = s->opts,
		.depth = 1,
		.first = 1,
		.last_path = qcf_tool_printf("temporary overlay"),
	};
	char *reason = NULL;
	struct qcowfmt_storage *storage = NULL;
	int ret = qcowfmt_storage_from_fd(fd, "temporary overlay", NULL,
	                                  &storage, &error);

	qcf_chain_use(&chain, &open);
	if (ret == 0 && base != NULL)
		ret = create_overlay(storage, base, &error);
	if (ret == 0)
		ret = qcowfmt_open(storage, &open, image, &error);
	if (ret < 0)
		qcowfmt_storage_free(storage);
	if (ret < 0)
		reason = qcf_chain_reason(&chain, ret, error, true);
	qcf_chain_fini(&chain);
	return reason;
}

static char *open_snapshot(struct io_session *session,
                           const struct qcf_tool_open *request,
                           const struct io_settings *s)
{
	struct qcf_tool_open read_only = *request;
	struct base base = { 0 };
	char *reason;

	read_only.flags &= ~QCOWFMT_OPEN_READ_WRITE;
	read_only.flags |= QCOWFMT_OPEN_NO_DATA;
	reason = look_at_base(&read_only, &base);
	if (reason == NULL) {
		session->overlay_fd = open_temporary_file();
		if (session->overlay_fd < 0)
			reason = qcf_tool_printf("Could not create temporary "
			                         "overlay: %s",
			                         strerror(errno));
	}
	if (reason == NULL)
		reason = open_overlay(session->overlay_fd, &base, s,
		                      &session->image);
	free(base.path);
	return reason;
}

/* ----------------------------------------------------------- open and close */

static void forget_image(struct io_session *session)
{
	if (session->overlay_fd >= 0)
		(void)close(session->overlay_fd);
	session->overlay_fd = -1;
	free(session->path);
	free(session->format);
	qcf_io_free_opts(session->settings.opts);
	session->settings.opts = NULL;
	session->path = NULL;
	session->format = NULL;
	session->image = NULL;
}

static struct qcf_tool_open open_request(const struct io_settings *s)
{
	return (struct qcf_tool_open){
		.path = s->path,
		.format = s->format,
		.opts = s->opts,
		.cache = s->cache,
		.flags = (s->read_only ? 0 : QCOWFMT_OPEN_READ_WRITE) |
		         (s->force_share ? QCOWFMT_OPEN_NO_LOCK : 0),
		.ignore_discard = s->ignore_discard,
	};
}

static void note_image(struct io_session *session,
                       const struct io_settings *settings)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };

	session->settings = *settings;
	session->settings.path = session->path;
	session->settings.format = session->format;
	session->size = qcowfmt_get_size(session->image);
	session->guards_first_sector = false;
	session->cluster_size = 0;
	if (qcowfmt_get_info(session->image, 0, &info, NULL) < 0)
		return;
	session->cluster_size = info.cluster_size;
	session->guards_first_sector =
		settings->format == NULL &&
		(settings->opts == NULL || settings->opts->driver == NULL) &&
		info.format == QCOWFMT_FORMAT_RAW;
}

static char *open_image(struct io_session *session,
                        const struct io_settings *settings)
{
	struct qcf_tool_open request = open_request(settings);
	const char *problem = check_settings(settings);
	char *reason = NULL;

	if (problem != NULL)
		return qcf_tool_printf("%s", problem);
	if (settings->path == NULL)
		reason = qcf_image_opts_check_path(settings->opts);
	else if (settings->opts != NULL && settings->opts->path != NULL &&
	         !qcf_is_json_name(settings->path))
		reason = qcf_tool_printf("Option 'file.filename' cannot be "
		                         "used together with a file name");
	if (reason != NULL)
		return reason;
	/* What was probed once stays what it was. */
	if (session->was_probed_raw &&
	    (settings->opts == NULL || settings->opts->driver == NULL))
		request.format = "raw";
	if (!settings->snapshot)
		(void)qcf_tool_open(&request, &session->image, &reason);
	else if (session->overlay_fd < 0)
		reason = open_snapshot(session, &request, settings);
	else
		reason = open_overlay(session->overlay_fd, NULL, settings,
		                      &session->image);
	return reason;
}

static void complain(const struct io_settings *settings, const char *reason)
{
	if (settings->path != NULL)
		qcf_tool_error("can't open device %s: %s", settings->path,
		               reason);
	else
		qcf_tool_error("can't open: %s", reason);
}

static bool says_what_to_open(const struct qcf_keyval_list *said)
{
	size_t i;

	for (i = 0; i < said->count; i++) {
		const char *key = said->items[i].key;

		if (strcmp(key, "driver") == 0 || strcmp(key, "file") == 0 ||
		    strncmp(key, "file.", strlen("file.")) == 0)
			return true;
	}
	return false;
}

bool qcf_io_take_pairs(struct io_settings *settings,
                       const struct qcf_keyval_list *said)
{
	QCF_AUTO_FREE char *reason = NULL;

	settings->opts = qcf_tool_alloc(sizeof(*settings->opts));
	if (settings->path == NULL && !says_what_to_open(said))
		reason = qcf_tool_printf("Must specify either driver or file");
	else
		reason = qcf_image_opts_add_pairs(settings->opts, said);
	if (reason == NULL)
		return true;
	complain(settings, reason);
	qcf_io_free_opts(settings->opts);
	return false;
}

/* Let a name in JSON say what it has to say before the other options. */
static char *take_json_name(struct io_settings *settings)
{
	struct qcf_image_opts *said = settings->opts;
	struct qcf_image_opts *all;
	char *reason;
	size_t i;

	if (settings->path == NULL || !qcf_is_json_name(settings->path))
		return NULL;
	all = qcf_tool_alloc(sizeof(*all));
	settings->opts = all;
	reason = qcf_image_opts_add_json(all, settings->path, settings->format);
	for (i = 0; said != NULL && i < said->list.count; i++)
		qcf_keyval_add(&all->list, said->list.items[i].key,
		               said->list.items[i].value);
	qcf_io_free_opts(said);
	return reason != NULL ? reason : qcf_image_opts_renew(all);
}

bool qcf_io_open(struct io_session *session, const struct io_settings *asked)
{
	struct io_settings settings = *asked;
	QCF_AUTO_FREE char *reason = take_json_name(&settings);

	session->settings.opts = settings.opts;
	if (reason == NULL)
		reason = open_image(session, &settings);
	if (reason != NULL) {
		complain(&settings, reason);
		forget_image(session);
		return false;
	}
	if (settings.path != NULL)
		session->path = qcf_tool_printf("%s", settings.path);
	if (settings.format != NULL)
		session->format = qcf_tool_printf("%s", settings.format);
	note_image(session, &settings);
	return true;
}

static const char *image_name(const struct io_session *session)
{
	return session->path != NULL ? session->path
	                             : session->settings.opts->path;
}

static bool close_image(struct io_session *session)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	bool ok = qcowfmt_close(session->image, &error) == 0;

	if (!ok)
		qcf_tool_error("%s: %s", image_name(session),
		               qcowfmt_error_message(error));
	session->image = NULL;
	return ok;
}

/* After a failure the image is open as it was, if that can be done. */
static bool go_back(struct io_session *session,
                    const struct io_settings *settings)
{
	QCF_AUTO_FREE char *reason = NULL;

	if (settings->opts != session->settings.opts)
		qcf_io_free_opts(settings->opts);
	reason = open_image(session, &session->settings);
	if (reason != NULL) {
		complain(&session->settings, reason);
		forget_image(session);
	}
	return false;
}

bool qcf_io_reopen(struct io_session *session,
                   const struct io_settings *settings)
{
	QCF_AUTO_FREE char *reason = NULL;

	if (!close_image(session)) {
		if (settings->opts != session->settings.opts)
			qcf_io_free_opts(settings->opts);
		forget_image(session);
		return false;
	}
	session->was_probed_raw = session->guards_first_sector;
	reason = open_image(session, settings);
	if (reason != NULL) {
		qcf_tool_error("%s", reason);
		return go_back(session, settings);
	}
	session->was_probed_raw = false;
	if (settings->opts != session->settings.opts)
		qcf_io_free_opts(session->settings.opts);
	note_image(session, settings);
	return true;
}

bool qcf_io_close(struct io_session *session)
{
	bool ok = close_image(session);

	forget_image(session);
	return ok;
}

bool qcf_io_take_setting(int option, const char *argument,
                         struct io_settings *settings)
{
	switch (option) {
	case 'r':
		settings->read_only = true;
		break;
	case 's':
		settings->snapshot = true;
		break;
	case 'n':
		return qcf_io_parse_cache("none", settings);
	case 'C':
		settings->copy_on_read = true;
		break;
	case 'k':
		return qcf_io_parse_aio("native", settings);
	case 'i':
		return qcf_io_parse_aio(argument, settings);
	case 't':
		return qcf_io_parse_cache(argument, settings);
	case 'd':
		return qcf_io_parse_discard(argument, settings);
	case 'U':
		settings->force_share = true;
		break;
	default:
		break;
	}
	return true;
}
