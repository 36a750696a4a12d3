/* SPDX-License-Identifier: MIT */
/*
 * byte_image.c - the bytes of a small image file, with undo and a fingerprint
 *
 * Before a page changes for the first time since a save, its old content goes
 * to the undo list.  The fingerprint is the sum of a hash per page that depends
 * on the page's place; a page of zeros counts 0, so pages never touched cost
 * nothing.  A page that changes is stale: its hash is computed when the
 * fingerprint is asked for, once for all its changes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "byte_image.h"

#define IMAGE_PAGE 4096u

/* In place of a hash. */
#define STALE UINT64_MAX

struct saved_page {
	size_t page;
	uint64_t hash;
	uint32_t saved_in; /* what saved_in[page] was */
	uint8_t bytes[IMAGE_PAGE];
};

/* One save: where its part of the undo list begins, and the size then. */
struct level {
	size_t first;
	size_t size;
	uint32_t id;
};

#define MAX_LEVELS 8

struct byte_image {
	uint8_t *bytes;
	size_t size;
	size_t page_count;
	uint64_t *hashes;   /* of each page */
	uint32_t *saved_in; /* id of the level that has the page's old bytes */
	uint64_t hash_sum;  /* without stale pages */
	/* Every stale page is listed; not all that are listed are stale. */
	size_t *stale;
	size_t stale_count;
	bool *listed; /* for each page */
	struct saved_page **undo;
	size_t undo_count, undo_room;
	struct level levels[MAX_LEVELS];
	int level_count;
	uint32_t last_id;
};

static void *need(void *memory)
{
	if (memory == NULL) {
		fprintf(stderr, "test: out of memory\n");
		exit(EXIT_FAILURE);
	}
	return memory;
}

/* Zeros that take memory only where they are touched, whatever the test
 * runner tells malloc() to fill memory with. */
static void *new_zeros(size_t len)
{
	void *memory = mmap(NULL, len, PROT_READ | PROT_WRITE,
	                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return need(memory == MAP_FAILED ? NULL : memory);
}

struct byte_image *byte_image_new(size_t capacity)
{
	struct byte_image *image = need(calloc(1, sizeof(*image)));

	image->page_count = (capacity + IMAGE_PAGE - 1) / IMAGE_PAGE;
	image->bytes = new_zeros(image->page_count * IMAGE_PAGE);
	image->hashes = need(calloc(image->page_count, sizeof(uint64_t)));
	image->saved_in = need(calloc(image->page_count, sizeof(uint32_t)));
	image->stale = need(calloc(image->page_count, sizeof(size_t)));
	image->listed = need(calloc(image->page_count, sizeof(bool)));
	return image;
}

void byte_image_free(struct byte_image *image)
{
	if (image == NULL)
		return;
	for (size_t i = 0; i < image->undo_room; i++)
		free(image->undo[i]);
	free(image->undo);
	munmap(image->bytes, image->page_count * IMAGE_PAGE);
	free(image->hashes);
	free(image->saved_in);
	free(image->stale);
	free(image->listed);
	free(image);
}

const uint8_t *byte_image_bytes(const struct byte_image *image)
{
	return image->bytes;
}

size_t byte_image_size(const struct byte_image *image)
{
	return image->size;
}

size_t byte_image_capacity(const struct byte_image *image)
{
	return image->page_count * IMAGE_PAGE;
}

static uint64_t mix(uint64_t value)
{
	value ^= value >> 30;
	value *= UINT64_C(0xbf58476d1ce4e5b9);
	value ^= value >> 27;
	value *= UINT64_C(0x94d049bb133111eb);
	return value ^ value >> 31;
}

#define LANES 8u

/* 0 for a page of zeros, else a hash of place and content.  Words go to several
 * sums in turn, which a processor works on at the same time. */
static uint64_t hash_page(const struct byte_image *image, size_t page)
{
	const uint8_t *bytes = image->bytes + page * IMAGE_PAGE;
	uint64_t sums[LANES] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	uint64_t any = 0;
	uint64_t hash = page + 1;

	for (size_t i = 0; i < IMAGE_PAGE; i += LANES * sizeof(uint64_t)) {
		uint64_t words[LANES];

		memcpy(words, bytes + i, sizeof(words));
		for (size_t k = 0; k < LANES; k++) {
			uint64_t sum = (sums[k] ^ words[k]) *
			               UINT64_C(0x9e3779b97f4a7c15);

			any |= words[k];
			sums[k] = sum ^ sum >> 29;
		}
	}
	if (any == 0)
		return 0;
	for (size_t k = 0; k < LANES; k++)
		hash = mix(hash ^ sums[k]);
	return hash == 0 || hash == STALE ? 1 : hash;
}

static void set_hash(struct byte_image *image, size_t page, uint64_t hash)
{
	image->hash_sum -=
		image->hashes[page] == STALE ? 0 : image->hashes[page];
	image->hash_sum += hash == STALE ? 0 : hash;
	image->hashes[page] = hash;
	if (hash == STALE && !image->listed[page]) {
		image->listed[page] = true;
		image->stale[image->stale_count++] = page;
	}
}

static struct saved_page *new_undo_entry(struct byte_image *image)
{
	if (image->undo_count == image->undo_room) {
		size_t room = image->undo_room * 2 + 16;

		image->undo =
			need(realloc(image->undo, room * sizeof(*image->undo)));
		while (image->undo_room < room)
			image->undo[image->undo_room++] = NULL;
	}

	struct saved_page **entry = &image->undo[image->undo_count++];

	if (*entry == NULL)
		*entry = need(malloc(sizeof(**entry)));
	return *entry;
}

static void save_page(struct byte_image *image, size_t page)
{
	if (image->level_count == 0)
		return;

	uint32_t id = image->levels[image->level_count - 1].id;

	if (image->saved_in[page] == id)
		return;

	struct saved_page *entry = new_undo_entry(image);

	entry->page = page;
	entry->hash = image->hashes[page];
	entry->saved_in = image->saved_in[page];
	memcpy(entry->bytes, image->bytes + page * IMAGE_PAGE, IMAGE_PAGE);
	image->saved_in[page] = id;
}

static void change_page(struct byte_image *image, size_t page, size_t start,
                        const uint8_t *data, size_t len)
{
	save_page(image, page);
	if (data == NULL)
		memset(image->bytes + page * IMAGE_PAGE + start, 0, len);
	else
		memcpy(image->bytes + page * IMAGE_PAGE + start, data, len);
	set_hash(image, page, STALE);
}

void byte_image_poke(struct byte_image *image, size_t offset, const void *data,
                     size_t len)
{
	const uint8_t *from = data;

	while (len > 0) {
		size_t page = offset / IMAGE_PAGE;
		size_t start = offset % IMAGE_PAGE;
		size_t part =
			IMAGE_PAGE - start < len ? IMAGE_PAGE - start : len;

		/* A page that is zeros already needs no zeros. */
		if (from != NULL || image->hashes[page] != 0)
			change_page(image, page, start, from, part);
		if (from != NULL)
			from += part;
		offset += part;
		len -= part;
	}
}

void byte_image_set_size(struct byte_image *image, size_t size)
{
	if (size < image->size)
		byte_image_poke(image, size, NULL,
		                byte_image_capacity(image) - size);
	image->size = size;
}

bool byte_image_write(struct byte_image *image, size_t offset, const void *data,
                      size_t len)
{
	size_t capacity = byte_image_capacity(image);

	if (offset > capacity || len > capacity - offset)
		return false;
	byte_image_poke(image, offset, data, len);
	if (offset + len > image->size)
		image->size = offset + len;
	return true;
}

/* Pages with the same hash are the same. */
static void copy_page(struct byte_image *to, const struct byte_image *from,
                      size_t page)
{
	uint64_t hash = from->hashes[page];

	if (hash != STALE && to->hashes[page] == hash)
		return;
	save_page(to, page);
	memcpy(to->bytes + page * IMAGE_PAGE, from->bytes + page * IMAGE_PAGE,
	       IMAGE_PAGE);
	set_hash(to, page, hash);
}

void byte_image_copy(struct byte_image *to, const struct byte_image *from)
{
	size_t capacity = byte_image_capacity(from);

	for (size_t page = 0; page < from->page_count; page++)
		copy_page(to, from, page);
	byte_image_poke(to, capacity, NULL, byte_image_capacity(to) - capacity);
	to->size = from->size;
}

uint64_t byte_image_fingerprint(struct byte_image *image)
{
	while (image->stale_count > 0) {
		size_t page = image->stale[--image->stale_count];

		image->listed[page] = false;
		if (image->hashes[page] == STALE)
			set_hash(image, page, hash_page(image, page));
	}
	return mix(image->hash_sum + mix(image->size));
}

void byte_image_save(struct byte_image *image)
{
	if (image->level_count == MAX_LEVELS)
		abort();
	image->levels[image->level_count++] = (struct level){
		.first = image->undo_count,
		.size = image->size,
		.id = ++image->last_id,
	};
}

void byte_image_undo(struct byte_image *image)
{
	if (image->level_count == 0)
		abort();

	struct level level = image->levels[--image->level_count];

	while (image->undo_count > level.first) {
		const struct saved_page *entry =
			image->undo[--image->undo_count];

		memcpy(image->bytes + entry->page * IMAGE_PAGE, entry->bytes,
		       IMAGE_PAGE);
		set_hash(image, entry->page, entry->hash);
		image->saved_in[entry->page] = entry->saved_in;
	}
	image->size = level.size;
}
