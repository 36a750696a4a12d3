/* SPDX-License-Identifier: MIT */
/* tool_open.c - opening images the way QEMU's programs do */
#include "tool_open.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tool_error.h"
#include "tool_secret.h"
#include "tool_unsafe.h"

static const struct {
	const char *name;
	struct qcf_cache_mode mode;
} cache_modes[] = {
	{ "none", { .direct = true } },
	{ "off", { .direct = true } },
	{ "directsync", { .direct = true, .write_through = true } },
	{ "writeback", { 0 } },
	{ "unsafe", { .no_flush = true } },
	{ "writethrough", { .write_through = true } },
};

bool qcf_parse_cache_mode(const char *name, struct qcf_cache_mode *mode)
{
	size_t i;

	for (i = 0; i < QCF_ARRAY_LEN(cache_modes); i++) {
		if (strcmp(cache_modes[i].name, name) == 0) {
			*mode = cache_modes[i].mode;
			return true;
		}
	}
	return false;
}

/* Where the part of a name that is a path starts; NULL: another protocol. */
static const char *skip_file_protocol(const char *name)
{
	size_t len = strcspn(name, ":/");

	if (name[len] != ':')
		return name;
	if (len == strlen("file") && strncmp(name, "file", len) == 0)
		return name + len + 1;
	return NULL;
}

const char *qcf_tool_path(const char *name, char **reason)
{
	const char *path = skip_file_protocol(name);

	if (path == NULL)
		*reason = qcf_tool_printf("Unknown protocol '%.*s'",
		                          (int)strcspn(name, ":"), name);
	return path;
}

char *qcf_resolve_reference(const char *referrer, const char *reference)
{
	const char *path = skip_file_protocol(reference);
	const char *slash = strrchr(referrer, '/');

	if (path != reference || *reference == '/' || slash == NULL)
		return qcf_tool_printf("%s", path == NULL ? reference : path);
	return qcf_tool_printf("%.*s%s", (int)(slash + 1 - referrer), referrer,
	                       reference);
}

/* ------------------------------------------------------------------ secrets */

static char *find_secret(const char *id, void *buffer, size_t room, size_t *len)
{
	const void *bytes;
	char *reason = qcf_secret_find(id, &bytes, len);

	if (reason == NULL && *len > room)
		return qcf_tool_printf("Secret '%s' is too long", id);
	if (reason == NULL)
		memcpy(buffer, bytes, *len);
	return reason;
}

/* Asked only for images that are encrypted: a secret that nothing needs may be
 * missing. */
static int64_t give_secret(void *opaque,
                           const struct qcowfmt_secret_request *request,
                           void *buffer, size_t room)
{
	struct qcf_secret_source *source = opaque;
	const char *id = NULL;
	size_t len;

	source->asked = request->depth;
	if (source->opts != NULL && request->depth >= source->depth)
		id = qcf_image_opts_secret(source->opts,
		                           request->depth - source->depth);
	if (id == NULL)
		return -ENOKEY;
	free(source->reason);
	source->reason = find_secret(id, buffer, room, &len);
	return source->reason == NULL ? (int64_t)len : -ENOKEY;
}

char *qcf_secret_reason(struct qcf_secret_source *source, int ret, char *reason)
{
	if (source->reason != NULL) {
		free(reason);
		reason = source->reason;
		source->reason = NULL;
	} else if (ret != -ENOKEY && ret != -EKEYREJECTED) {
		return reason;
	}
	/* It says what, but not of which image of the chain. */
	for (uint32_t i = source->depth; i < source->asked; i++) {
		char *longer = qcf_tool_printf(
			"Could not open backing file: %s", reason);

		free(reason);
		reason = longer;
	}
	return reason;
}

void qcf_use_secrets(struct qcowfmt_open_options *options,
                     struct qcf_secret_source *source)
{
	options->secret_callback = give_secret;
	options->secret_opaque = source;
}

char *qcf_check_encryption(const struct qcowfmt_info *info,
                           const struct qcf_image_opts *opts)
{
	static const char *const names[] = {
		[QCOWFMT_ENCRYPTION_NONE] = NULL,
		[QCOWFMT_ENCRYPTION_AES] = "aes",
		[QCOWFMT_ENCRYPTION_LUKS] = "luks",
	};
	const char *wanted = opts != NULL ? opts->encrypt_format : NULL;
	const char *found = names[info->encryption];

	if (wanted == NULL || info->format == QCOWFMT_FORMAT_RAW)
		return NULL;
	if (found == NULL)
		return qcf_tool_printf("No encryption in image header, but "
		                       "options specified format '%s'",
		                       wanted);
	if (strcmp(found, wanted) != 0)
		return qcf_tool_printf("Header reported '%s' encryption format "
		                       "but options specify '%s'",
		                       found, wanted);
	return NULL;
}

/*
 * The header is looked at before the image is opened in earnest, for which a
 * secret may be missing.  If it cannot be read, that will be said then.
 */
static char *check_header(const char *path,
                          const struct qcowfmt_open_options *options,
                          const struct qcf_image_opts *opts)
{
	QCF_AUTO_IMAGE struct qcowfmt_image *image = NULL;
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	struct qcowfmt_open_options look = {
		.struct_size = sizeof(look),
		.format = options->format,
		.flags = QCOWFMT_OPEN_NO_DATA | QCOWFMT_OPEN_NO_LOCK,
		.reference_policy = QCOWFMT_REFERENCES_IGNORE,
	};

	if (opts == NULL || opts->encrypt_format == NULL)
		return NULL;
	if (qcowfmt_open_file(path, &look, &image, NULL) < 0 ||
	    qcowfmt_get_info(image, 0, &info, NULL) < 0)
		return NULL;
	return qcf_check_encryption(&info, opts);
}

/* --------------------------------------------------------------------- open */

static void warn_probed_raw(const char *path)
{
	fprintf(stderr,
	        "WARNING: Image format was not specified for '%s' and probing "
	        "guessed raw.\n"
	        "         Automatically detecting the format is dangerous for "
	        "raw images, write operations on block 0 will be restricted.\n"
	        "         Specify the 'raw' format explicitly to remove the "
	        "restrictions.\n",
	        path);
}

static bool is_raw(struct qcowfmt_image *image)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };

	return qcowfmt_get_info(image, 0, &info, NULL) == 0 &&
	       info.format == QCOWFMT_FORMAT_RAW;
}

static char *find_format(const struct qcf_tool_open *request, int32_t *format)
{
	const char *name = request->format;

	if (request->opts != NULL && request->opts->driver != NULL)
		name = request->opts->driver;
	*format = QCOWFMT_FORMAT_PROBE;
	if (name == NULL)
		return NULL;
	*format = qcowfmt_format_from_name(name);
	if (*format >= 0)
		return NULL;
	return qcf_tool_printf("Unknown driver '%s'", name);
}

static char *fill_options(const struct qcf_tool_open *request,
                          struct qcowfmt_open_options *options)
{
	*options = (struct qcowfmt_open_options){
		.struct_size = sizeof(*options),
		.flags = request->flags,
		.chain_limit = request->chain_limit,
		.reference_policy = request->no_references
		                            ? QCOWFMT_REFERENCES_IGNORE
		                            : QCOWFMT_REFERENCES_LOCAL,
		.undeclared_format = QCOWFMT_UNDECLARED_PROBE,
	};
	if (request->cache.direct)
		options->flags |= QCOWFMT_OPEN_DIRECT;
	if (request->ignore_discard)
		options->discard_mode = QCOWFMT_DISCARD_IGNORE;
	return find_format(request, &options->format);
}

/* The data file that the options name, in place of the one in the header. */
static char *open_data_file(const struct qcf_tool_open *request,
                            struct qcowfmt_storage **storage)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	bool writing = (request->flags & QCOWFMT_OPEN_READ_WRITE) != 0;
	struct qcowfmt_file_options options = {
		.struct_size = sizeof(options),
		.flags = (writing ? 0 : QCOWFMT_FILE_READ_ONLY) |
		         (request->cache.direct ? QCOWFMT_FILE_DIRECT : 0),
	};
	const char *path =
		request->opts != NULL ? request->opts->data_path : NULL;
	int ret;

	*storage = NULL;
	if (path == NULL || (request->flags & QCOWFMT_OPEN_NO_DATA) != 0)
		return NULL;
	if ((request->flags & QCOWFMT_OPEN_NO_LOCK) != 0)
		options.flags |= QCOWFMT_FILE_NO_LOCK;
	ret = qcowfmt_storage_open_file(path, &options, storage, &error);
	return ret < 0 ? qcf_tool_reason(ret, error, path, writing) : NULL;
}

/* Version 1 has words of its own for what is no image. */
static char *name_format(char *reason)
{
	if (strcmp(reason, "Image is not in qcow2 format") != 0)
		return reason;
	free(reason);
	return qcf_tool_printf("Image not in qcow format");
}

/* Open the image at a path; the options but for its data file are there. */
static int open_image(const struct qcf_tool_open *request, const char *path,
                      struct qcowfmt_open_options *options,
                      struct qcowfmt_image **image, char **reason)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	bool writing = (request->flags & QCOWFMT_OPEN_READ_WRITE) != 0;
	struct qcf_secret_source source = { .opts = request->opts };
	int ret;

	qcf_use_secrets(options, &source);
	if (writing && request->cache.no_flush) {
		ret = qcf_open_without_flush(
			path, options, request->punch_zeros, image, reason);
	} else {
		ret = qcowfmt_open_file(path, options, image, &error);
		if (ret < 0)
			*reason = qcf_tool_reason(ret, error, path, writing);
	}
	if (ret < 0)
		*reason = qcf_secret_reason(&source, ret, *reason);
	if (ret < 0 && options->format == QCOWFMT_FORMAT_QCOW)
		*reason = name_format(*reason);
	free(source.reason);
	return ret;
}

static const char *find_path(const struct qcf_tool_open *request, char **reason)
{
	if (request->opts != NULL && request->opts->path != NULL)
		return request->opts->path;
	return qcf_tool_path(request->path, reason);
}

int qcf_tool_open(const struct qcf_tool_open *request,
                  struct qcowfmt_image **image, char **reason)
{
	const char *path = find_path(request, reason);
	struct qcowfmt_open_options options;
	int ret;

	if (path == NULL)
		return -EINVAL;
	*reason = fill_options(request, &options);
	if (*reason == NULL)
		*reason = check_header(path, &options, request->opts);
	if (*reason == NULL)
		*reason = open_data_file(request, &options.data_storage);
	if (*reason != NULL)
		return -EINVAL;
	ret = open_image(request, path, &options, image, reason);
	if (ret < 0) {
		qcowfmt_storage_free(options.data_storage);
		return ret;
	}
	if ((request->flags & QCOWFMT_OPEN_READ_WRITE) != 0 &&
	    options.format == QCOWFMT_FORMAT_PROBE && is_raw(*image))
		warn_probed_raw(path);
	return 0;
}

bool qcf_tool_take_image(struct qcf_tool_open *request,
                         struct qcf_image_opts *opts, bool image_opts,
                         const char *argument)
{
	QCF_AUTO_FREE char *reason = NULL;

	request->path = argument;
	if (!image_opts)
		return true;
	if (request->format != NULL) {
		qcf_tool_error("--image-opts and --format are mutually "
		               "exclusive");
		return false;
	}
	request->opts = opts;
	reason = qcf_image_opts_add(opts, argument);
	if (reason == NULL)
		reason = qcf_image_opts_check_path(opts);
	if (reason != NULL)
		qcf_tool_error("Could not open '%s': %s", argument, reason);
	return reason == NULL;
}
