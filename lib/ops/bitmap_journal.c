/* SPDX-License-Identifier: MIT */
/* bitmap_journal.c - what several images are about to switch to */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bitmap_journal.h"
#include "checked.h"
#include "fd_io.h"
#include "meta_tables.h"

static const char magic[8] = "QCFBMAP\1";

/* Of a journal file: some images with long paths. */
#define MAX_JOURNAL_SIZE (UINT64_C(64) << 20)
#define MAX_LOST_SIZE    (UINT64_C(1) << 20)
#define HEAD_LEN         16u
#define DIGEST_LEN       8u

void qcf_bitmap_journal_fini(struct qcf_bitmap_journal *journal)
{
	for (uint32_t i = 0; i < journal->count; i++)
		free(journal->switches[i].path);
	free(journal->switches);
	*journal = (struct qcf_bitmap_journal){ 0 };
}

/* FNV-1a: finds files that were cut or bytes that were lost, not malice. */
static uint64_t digest_of(const uint8_t *bytes, size_t len)
{
	uint64_t digest = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < len; i++)
		digest = (digest ^ bytes[i]) * UINT64_C(0x100000001b3);
	return digest;
}

void qcf_bitmap_ext_bytes(const struct qcf_header *h,
                          uint8_t ext[QCF_BITMAP_EXT_LEN])
{
	const struct qcf_extension *raw = qcf_bitmaps_extension(h);

	memset(ext, 0, QCF_BITMAP_EXT_LEN);
	if (raw != NULL && raw->len == QCF_BITMAP_EXT_LEN)
		memcpy(ext, raw->data, QCF_BITMAP_EXT_LEN);
}

int qcf_bitmap_directory_digest(struct qcf_meta *meta,
                                const uint8_t bytes[QCF_BITMAP_EXT_LEN],
                                uint64_t *digest, struct qcowfmt_error **errp)
{
	static const uint8_t none[QCF_BITMAP_EXT_LEN];
	struct qcf_extension raw = {
		.len = QCF_BITMAP_EXT_LEN,
		.data = (uint8_t *)(uintptr_t)bytes,
	};
	QCF_AUTO_FREE uint8_t *directory = NULL;
	struct qcf_bitmap_ext ext;
	int ret;

	*digest = 0;
	if (memcmp(bytes, none, sizeof(none)) == 0)
		return 0;
	ret = qcf_bitmap_ext_decode(&ext, &raw, &meta->geometry, errp);
	if (ret < 0)
		return ret;
	directory = malloc(ext.directory_size);
	if (directory == NULL)
		return qcf_fail_oom(errp);
	ret = qcf_meta_read_table(meta, ext.directory_offset, directory,
	                          ext.directory_size, errp);
	*digest = digest_of(directory, ext.directory_size);
	return ret;
}

/* -------------------------------------------------------------------- making */

static int find_path(const struct qcf_meta *meta, char **path,
                     struct qcowfmt_error **errp)
{
	*path = realpath(meta->storage->name, NULL);
	if (*path != NULL)
		return 0;
	if (errno == ENOMEM)
		return qcf_fail_oom(errp);
	return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
	                "the bitmaps of several images can be changed together "
	                "only if they are local files, which %s is not",
	                meta->storage->name);
}

int qcf_bitmap_journal_add(struct qcf_bitmap_journal *journal,
                           const struct qcf_bitmap_draft *draft,
                           struct qcowfmt_error **errp)
{
	struct qcf_bitmap_switch *s =
		realloc(journal->switches,
	                (journal->count + 1) * sizeof(*journal->switches));
	int ret;

	if (s == NULL)
		return qcf_fail_oom(errp);
	journal->switches = s;
	s += journal->count;
	*s = (struct qcf_bitmap_switch){ 0 };
	ret = find_path(draft->meta, &s->path, errp);
	if (ret < 0)
		return ret;
	journal->count++;
	qcf_bitmap_ext_bytes(&draft->meta->header, s->before);
	qcf_bitmap_ext_bytes(&draft->header, s->after);
	ret = qcf_bitmap_directory_digest(draft->meta, s->before,
	                                  &s->digest_before, errp);
	if (ret == 0)
		ret = qcf_bitmap_directory_digest(draft->meta, s->after,
		                                  &s->digest_after, errp);
	return ret;
}

static size_t encoded_size(const struct qcf_bitmap_journal *journal)
{
	size_t size = HEAD_LEN + DIGEST_LEN;

	for (uint32_t i = 0; i < journal->count; i++)
		size += 4 + strlen(journal->switches[i].path) +
		        2 * QCF_BITMAP_EXT_LEN + 2 * DIGEST_LEN;
	return size;
}

static void encode(const struct qcf_bitmap_journal *journal, uint8_t *bytes,
                   size_t len)
{
	struct qcf_writer w = qcf_writer_init(bytes, len);

	qcf_write_bytes(&w, magic, sizeof(magic));
	qcf_write_u32(&w, journal->count);
	qcf_write_u32(&w, 0);
	for (uint32_t i = 0; i < journal->count; i++) {
		const struct qcf_bitmap_switch *s = &journal->switches[i];

		qcf_write_u32(&w, (uint32_t)strlen(s->path));
		qcf_write_bytes(&w, s->path, strlen(s->path));
		qcf_write_bytes(&w, s->before, sizeof(s->before));
		qcf_write_bytes(&w, s->after, sizeof(s->after));
		qcf_write_u64(&w, s->digest_before);
		qcf_write_u64(&w, s->digest_after);
	}
	qcf_write_u64(&w, digest_of(bytes, w.pos));
}

/* ------------------------------------------------------------------- the file */

/* The directory entry of a file is stable only when its directory is. */
static int sync_directory(const char *path, struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE char *copy = strdup(path);
	int ret = 0;
	int fd;

	if (copy == NULL)
		return qcf_fail_oom(errp);
	fd = qcf_fd_open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0 || qcf_fd_sync(fd) < 0)
		ret = qcf_fail_sys(errp, errno, "flushing the directory of %s",
		                   path);
	if (fd >= 0)
		close(fd);
	return ret;
}

static int write_all(int fd, const uint8_t *bytes, size_t len)
{
	while (len > 0) {
		ssize_t done = write(fd, bytes, len);

		if (done < 0 && errno != EINTR)
			return -errno;
		if (done > 0) {
			bytes += done;
			len -= (size_t)done;
		}
	}
	return qcf_fd_sync(fd) < 0 ? -errno : 0;
}

int qcf_bitmap_journal_write(const struct qcf_bitmap_journal *journal,
                             const char *path, struct qcowfmt_error **errp)
{
	size_t len = encoded_size(journal);
	QCF_AUTO_FREE uint8_t *bytes = malloc(len);
	int ret;
	int fd;

	if (bytes == NULL)
		return qcf_fail_oom(errp);
	encode(journal, bytes, len);
	fd = qcf_fd_open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return qcf_fail_sys(errp, errno, "creating journal %s", path);
	ret = write_all(fd, bytes, len);
	if (close(fd) < 0 && ret == 0)
		ret = -errno;
	ret = ret < 0 ? qcf_fail_sys(errp, -ret, "writing journal %s", path)
	              : sync_directory(path, errp);
	if (ret < 0)
		(void)unlink(path);
	return ret;
}

int qcf_bitmap_journal_remove(const char *path, struct qcowfmt_error **errp)
{
	if (unlink(path) < 0)
		return qcf_fail_sys(errp, errno, "removing journal %s", path);
	return sync_directory(path, errp);
}

static int read_file(const char *path, uint8_t **bytes, size_t *len,
                     struct qcowfmt_error **errp)
{
	struct stat st;
	FILE *file = fopen(path, "rbe");
	int ret = 0;

	if (file == NULL)
		return qcf_fail_sys(errp, errno, "opening journal %s", path);
	if (fstat(fileno(file), &st) < 0)
		ret = qcf_fail_sys(errp, errno, "reading journal %s", path);
	else if (!S_ISREG(st.st_mode) ||
	         (uint64_t)st.st_size > MAX_JOURNAL_SIZE)
		ret = qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		               "%s is not a journal", path);
	if (ret == 0) {
		*len = (size_t)st.st_size;
		*bytes = malloc(*len + 1);
		if (*bytes == NULL)
			ret = qcf_fail_oom(errp);
		else if (fread(*bytes, 1, *len, file) != *len)
			ret = qcf_fail(errp, EIO, QCOWFMT_ERR_IO,
			               "reading journal %s failed", path);
	}
	fclose(file);
	return ret;
}

static int decode_switch(struct qcf_bitmap_switch *s, struct qcf_reader *reader,
                         struct qcowfmt_error **errp)
{
	uint32_t len = qcf_read_u32(reader);
	const uint8_t *path = qcf_read_span(reader, len);

	s->path = strndup(path == NULL ? "" : (const char *)path,
	                  path == NULL ? 0 : len);
	if (s->path == NULL)
		return qcf_fail_oom(errp);
	qcf_read_bytes(reader, s->before, sizeof(s->before));
	qcf_read_bytes(reader, s->after, sizeof(s->after));
	s->digest_before = qcf_read_u64(reader);
	s->digest_after = qcf_read_u64(reader);
	return 0;
}

static int decode(struct qcf_bitmap_journal *journal, const uint8_t *bytes,
                  size_t len, struct qcowfmt_error **errp)
{
	struct qcf_reader reader = qcf_reader_init(bytes, len);
	uint32_t count;
	int ret = 0;

	qcf_read_span(&reader, sizeof(magic));
	count = qcf_read_u32(&reader);
	qcf_read_u32(&reader);
	journal->switches = calloc(QCF_MIN((size_t)count, len) + 1,
	                           sizeof(*journal->switches));
	if (journal->switches == NULL)
		return qcf_fail_oom(errp);
	while (ret == 0 && journal->count < count && !reader.overrun)
		ret = decode_switch(&journal->switches[journal->count++],
		                    &reader, errp);
	if (ret == 0 && (reader.overrun || qcf_reader_left(&reader) != 0))
		ret = qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		               "the journal does not make sense");
	return ret;
}

/*
 * Whether a file that is no whole journal may be one that was being written: it
 * is short, and its start is that of a journal or did not reach storage.  Anything
 * else is somebody else's.
 */
static bool may_be_ours(const uint8_t *bytes, size_t len)
{
	static const uint8_t zeros[sizeof(magic)];
	size_t start = QCF_MIN(len, sizeof(magic));

	return len <= MAX_LOST_SIZE && (memcmp(bytes, magic, start) == 0 ||
	                                memcmp(bytes, zeros, start) == 0);
}

/* Whether the file ends with the digest of the rest. */
static bool is_whole(const uint8_t *bytes, size_t len)
{
	struct qcf_reader reader;

	if (len < HEAD_LEN + DIGEST_LEN ||
	    memcmp(bytes, magic, sizeof(magic)) != 0)
		return false;
	reader = qcf_reader_init(bytes + len - DIGEST_LEN, DIGEST_LEN);
	return qcf_read_u64(&reader) == digest_of(bytes, len - DIGEST_LEN);
}

int qcf_bitmap_journal_read(struct qcf_bitmap_journal *journal,
                            const char *path, bool *complete,
                            struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE uint8_t *bytes = NULL;
	size_t len = 0;
	int ret = read_file(path, &bytes, &len, errp);

	*journal = (struct qcf_bitmap_journal){ 0 };
	if (ret < 0)
		return ret;
	*complete = is_whole(bytes, len);
	if (!*complete && !may_be_ours(bytes, len))
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "%s is not a journal", path);
	return *complete ? decode(journal, bytes, len - DIGEST_LEN, errp) : 0;
}
