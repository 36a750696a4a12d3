/* SPDX-License-Identifier: MIT */
/* fuzz_view.c - what a guest sees of all disks of an image */
#include "fuzz_view.h"

/* A read of everything is the reads of its parts. */
static void read_at_once(struct qcowfmt_image *image,
                         const struct fuzz_view *view, uint64_t len)
{
	static uint8_t bytes[FUZZ_DISK_SIZE];
	bool all = true;
	int ret;

	memset(bytes, 0x5a, (size_t)len);
	ret = qcowfmt_pread(image, bytes, (size_t)len, 0, NULL);
	for (uint64_t i = 0; i < len / FUZZ_VIEW_PIECE; i++)
		all = all && view->is_readable[i];
	FUZZ_ASSERT((ret == 0) == all, "%d, and the pieces %s", ret,
	            all ? "can be read" : "cannot");
	FUZZ_ASSERT(!all || memcmp(bytes, view->bytes, (size_t)len) == 0,
	            "a long read has other bytes");
}

void fuzz_view_read(struct qcowfmt_image *image, struct fuzz_view *view)
{
	uint8_t tail[512];
	uint64_t len;

	view->size = qcowfmt_get_size(image);
	len = view->size < FUZZ_DISK_SIZE ? view->size : FUZZ_DISK_SIZE;
	len -= len % FUZZ_VIEW_PIECE;
	/* What is not filled in shows, and in a long read differently. */
	memset(view->bytes, 0xa5, (size_t)len);
	for (uint64_t i = 0; i < len / FUZZ_VIEW_PIECE; i++)
		view->is_readable[i] =
			qcowfmt_pread(image, view->bytes + i * FUZZ_VIEW_PIECE,
		                      FUZZ_VIEW_PIECE, i * FUZZ_VIEW_PIECE,
		                      NULL) == 0;
	if (len > 0)
		read_at_once(image, view, len);
	if (view->size >= sizeof(tail))
		(void)qcowfmt_pread(image, tail, sizeof(tail),
		                    view->size - sizeof(tail), NULL);
}

void fuzz_views_read(struct fuzz_image *fi, uint32_t flags,
                     struct fuzz_view *disks)
{
	static const char *const ids[] = { NULL, "1", "2", "3" };

	for (uint32_t i = 0; i <= FUZZ_MAX_SNAPSHOTS; i++) {
		struct qcowfmt_image *image = NULL;
		struct fuzz_view *view = &disks[i];

		memset(view, 0, sizeof(*view));
		if (i > fi->base->kind->snapshots)
			continue;
		view->is_there = fuzz_open(fi, flags, ids[i], &image) == 0;
		if (view->is_there) {
			fuzz_view_read(image, view);
			fuzz_close(image);
		}
	}
}

void fuzz_views_keep_right(struct fuzz_views *views,
                           const struct fuzz_base *base)
{
	for (size_t i = 0; i <= FUZZ_MAX_SNAPSHOTS; i++) {
		const struct fuzz_view *want = &base->views[i];
		struct fuzz_view *view = &views->disks[i];

		for (uint64_t j = 0; j < FUZZ_VIEW_PIECES; j++)
			view->is_readable[j] =
				view->is_readable[j] &&
				memcmp(view->bytes + j * FUZZ_VIEW_PIECE,
			               want->bytes + j * FUZZ_VIEW_PIECE,
			               FUZZ_VIEW_PIECE) == 0;
	}
}

void fuzz_views_expect(const struct fuzz_view *before,
                       const struct fuzz_view *after, size_t first,
                       const char *why)
{
	for (size_t i = first; i <= FUZZ_MAX_SNAPSHOTS; i++) {
		const struct fuzz_view *b = &before[i];
		const struct fuzz_view *a = &after[i];

		FUZZ_ASSERT(!b->is_there || a->is_there, "%s: disk %zu is lost",
		            why, i);
		for (uint64_t j = 0; b->is_there && j < FUZZ_VIEW_PIECES; j++)
			FUZZ_ASSERT(
				!b->is_readable[j] ||
					(a->is_readable[j] &&
			                 memcmp(a->bytes + j * FUZZ_VIEW_PIECE,
			                        b->bytes + j * FUZZ_VIEW_PIECE,
			                        FUZZ_VIEW_PIECE) == 0),
				"%s: disk %zu is not the same at 0x%" PRIx64
				"%s",
				why, i, j * FUZZ_VIEW_PIECE,
				a->is_readable[j] ? "" : ": it is unreadable");
	}
}

/* ---------------------------------------------------------------------- asking */

/* Extents follow each other; so many calls at most. */
static void ask_map(struct qcowfmt_image *image, uint32_t flags)
{
	struct qcowfmt_extent extents[8];
	uint64_t size = qcowfmt_get_size(image);
	uint64_t at = 0;

	for (int calls = 0; calls < 32 && at < size; calls++) {
		int count = qcowfmt_map(image, at, size - at, flags, extents, 8,
		                        NULL);

		if (count < 0)
			return;
		FUZZ_ASSERT(count > 0 && count <= 8, "%d extents", count);
		for (int i = 0; i < count; i++) {
			FUZZ_ASSERT(extents[i].guest_offset == at &&
			                    extents[i].length > 0 &&
			                    extents[i].length <= size - at,
			            "0x%" PRIx64, at);
			at += extents[i].length;
		}
	}
}

static void ask_snapshots(struct qcowfmt_image *image, uint32_t depth)
{
	struct qcowfmt_snapshot snapshot = { .struct_size = sizeof(snapshot) };
	struct qcowfmt_snapshot_list *list = NULL;

	if (qcowfmt_snapshot_list(image, depth, &list, NULL) < 0)
		return;
	for (uint32_t i = 0; i < qcowfmt_snapshot_list_count(list); i++)
		FUZZ_ASSERT(qcowfmt_snapshot_list_get(list, i, &snapshot,
		                                      NULL) == 0 &&
		                    snapshot.id != NULL &&
		                    snapshot.name != NULL,
		            "snapshot %" PRIu32, i);
	qcowfmt_snapshot_list_free(list);
}

static void ask_bitmap(struct qcowfmt_image *image, const char *name)
{
	uint64_t size = qcowfmt_get_size(image);
	uint64_t offset = 0;
	uint64_t len = 0;

	for (int i = 0; i < 16; i++) {
		uint64_t from = offset + len;

		if (qcowfmt_bitmap_next(image, name, from, &offset, &len,
		                        NULL) != 1)
			return;
		FUZZ_ASSERT(offset >= from && len > 0 && len <= size - offset,
		            "0x%" PRIx64 " and 0x%" PRIx64, offset, len);
	}
}

static void ask_bitmaps(struct qcowfmt_image *image, uint32_t depth)
{
	struct qcowfmt_bitmap bitmap = { .struct_size = sizeof(bitmap) };
	struct qcowfmt_bitmap_list *list = NULL;

	if (qcowfmt_bitmap_list(image, depth, &list, NULL) < 0)
		return;
	for (uint32_t i = 0; i < qcowfmt_bitmap_list_count(list); i++) {
		FUZZ_ASSERT(qcowfmt_bitmap_list_get(list, i, &bitmap, NULL) ==
		                    0,
		            "bitmap %" PRIu32, i);
		if (depth == 0 && i < 16)
			ask_bitmap(image, bitmap.name);
	}
	qcowfmt_bitmap_list_free(list);
}

void fuzz_ask_all(struct qcowfmt_image *image)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	struct qcowfmt_encryption_info encryption = {
		.struct_size = sizeof(encryption),
	};
	uint8_t bytes[600];

	for (uint32_t depth = 0;
	     qcowfmt_get_info(image, depth, &info, NULL) == 0; depth++) {
		(void)qcowfmt_get_encryption_info(image, depth, &encryption,
		                                  NULL);
		ask_snapshots(image, depth);
		ask_bitmaps(image, depth);
	}
	ask_map(image, 0);
	ask_map(image, QCOWFMT_MAP_TOP | QCOWFMT_MAP_HOLES);
	(void)qcowfmt_vm_state_pread(image, bytes, sizeof(bytes), 4000, NULL);
}
