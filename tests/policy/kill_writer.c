/* SPDX-License-Identifier: MIT */
/*
 * kill_writer.c - a writer that is killed at any moment, and what is judged then
 *
 *   kill_writer write IMAGE SEED FIRST
 *   kill_writer verify IMAGE SEED FIRST ACKNOWLEDGED STATE
 *
 * The operations follow from SEED and their numbers, which start at FIRST; each
 * sector written holds the number of the operation and its own.  The writer goes
 * on for ever.  After each flush that succeeded it prints the number of the last
 * operation before it, in one write, so that what is read from the pipe was
 * promised.
 *
 * "verify" reads the disk: each sector is as the last acknowledged operation left
 * it, or as a later one that may have been under way, never anything else.  STATE
 * is a file with what each sector held before, which is replaced by what it holds
 * now.  Prints the first number for the next writer.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <qcowfmt.h>

#define SECTOR      512u
#define SECTORS     32768u /* of a disk of 16 MiB */
#define MAX_RUN     384u   /* sectors of one operation: three clusters */
#define FLUSH_EVERY 12u    /* operations at most */
/* Operations that may have begun after the last one acknowledged: those up to a
 * flush of which nobody heard, and those behind it. */
#define UNHEARD (2 * FLUSH_EVERY)

static const char secret[] = "hunter2";

/* What a sector holds: the number of an operation, 0 for zeros. */
typedef uint32_t stamp;

struct operation {
	uint32_t first, count; /* sectors */
	bool zeroes;
	bool flush; /* after it */
};

static void fail(const char *what, const struct qcowfmt_error *error)
{
	fprintf(stderr, "kill_writer: %s: %s\n", what,
	        error == NULL ? "" : qcowfmt_error_message(error));
	exit(EXIT_FAILURE);
}

static uint64_t mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static struct operation make_operation(uint64_t seed, uint32_t number)
{
	uint64_t r = mix(mix(seed) + number);
	struct operation op = {
		.first = (uint32_t)(r % SECTORS),
		.count = 1 + (uint32_t)(r >> 16) % MAX_RUN,
		.zeroes = (r >> 40) % 8 == 0,
		.flush = number % FLUSH_EVERY == 0 || (r >> 48) % 4 == 0,
	};

	/* Half of them are small. */
	if ((r >> 56) % 2 == 0)
		op.count = 1 + op.count % 8;
	if (op.count > SECTORS - op.first)
		op.count = SECTORS - op.first;
	return op;
}

/* ----------------------------------------------------------------------- image */

static int64_t give_secret(void *opaque,
                           const struct qcowfmt_secret_request *request,
                           void *buffer, size_t room)
{
	(void)opaque;
	(void)request;
	if (room < strlen(secret))
		return -1;
	memcpy(buffer, secret, strlen(secret));
	return (int64_t)strlen(secret);
}

static struct qcowfmt_image *open_image(const char *path, uint32_t flags)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = flags,
		.secret_callback = give_secret,
	};
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_open_file(path, &options, &image, &error) < 0)
		fail("opening", error);
	if (qcowfmt_get_size(image) != (uint64_t)SECTORS * SECTOR)
		fail("the disk has another size", NULL);
	return image;
}

/* ---------------------------------------------------------------------- writing */

static void fill_sector(uint8_t *sector, uint32_t index, stamp number)
{
	uint64_t word = (uint64_t)number << 32 | index;

	for (size_t i = 0; i < SECTOR; i += sizeof(word))
		memcpy(sector + i, &word, sizeof(word));
}

static void perform(struct qcowfmt_image *image, const struct operation *op,
                    uint32_t number)
{
	static uint8_t buffer[MAX_RUN * SECTOR];
	struct qcowfmt_error *error = NULL;
	uint64_t offset = (uint64_t)op->first * SECTOR;
	size_t len = (size_t)op->count * SECTOR;
	int ret;

	for (uint32_t i = 0; !op->zeroes && i < op->count; i++)
		fill_sector(buffer + (size_t)i * SECTOR, op->first + i, number);
	if (op->zeroes)
		ret = qcowfmt_write_zeroes(image, offset, len,
		                           QCOWFMT_ZERO_MAY_UNMAP, &error);
	else
		ret = qcowfmt_pwrite(image, buffer, len, offset, &error);
	if (ret < 0)
		fail("writing", error);
}

static void write_for_ever(const char *path, uint64_t seed, uint32_t number)
{
	struct qcowfmt_image *image = open_image(path, QCOWFMT_OPEN_READ_WRITE);

	for (;; number++) {
		struct operation op = make_operation(seed, number);
		struct qcowfmt_error *error = NULL;
		char line[32];
		int len;

		perform(image, &op, number);
		if (!op.flush)
			continue;
		if (qcowfmt_flush(image, &error) < 0)
			fail("flushing", error);
		len = snprintf(line, sizeof(line), "%" PRIu32 "\n", number);
		if (write(STDOUT_FILENO, line, (size_t)len) != len)
			fail("acknowledging", NULL);
	}
}

/* ---------------------------------------------------------------------- judging */

/* What a sector holds; false if no operation ever wrote that. */
static bool read_stamp(const uint8_t *sector, uint32_t index, stamp *number)
{
	uint8_t expected[SECTOR];
	uint64_t word;

	memcpy(&word, sector, sizeof(word));
	*number = (stamp)(word >> 32);
	if (word == 0)
		memset(expected, 0, sizeof(expected));
	else
		fill_sector(expected, index, *number);
	return memcmp(expected, sector, SECTOR) == 0;
}

static bool covers(const struct operation *op, uint32_t sector)
{
	return sector >= op->first && sector - op->first < op->count;
}

static bool is_later(uint64_t seed, uint32_t last, uint32_t sector,
                     stamp number)
{
	for (uint32_t n = last + 1; n <= last + UNHEARD; n++) {
		struct operation op = make_operation(seed, n);

		if (covers(&op, sector) && number == (op.zeroes ? 0 : n))
			return true;
	}
	return false;
}

static void replay(stamp *state, uint64_t seed, uint32_t first, uint32_t last)
{
	for (uint32_t n = first; n <= last; n++) {
		struct operation op = make_operation(seed, n);

		for (uint32_t i = 0; i < op.count; i++)
			state[op.first + i] = op.zeroes ? 0 : n;
	}
}

static void use_state(const char *path, stamp *state, const char *mode)
{
	FILE *f = fopen(path, mode);
	size_t done;

	/* Before the first time everything is zeros. */
	if (f == NULL && mode[0] == 'r')
		return;
	if (f == NULL)
		fail(path, NULL);
	done = mode[0] == 'r' ? fread(state, sizeof(*state), SECTORS, f)
	                      : fwrite(state, sizeof(*state), SECTORS, f);
	if (fclose(f) != 0 || done != SECTORS)
		fail(path, NULL);
}

static void judge(const char *path, stamp *state, uint64_t seed, uint32_t last)
{
	struct qcowfmt_image *image = open_image(path, 0);
	struct qcowfmt_error *error = NULL;

	for (uint32_t i = 0; i < SECTORS; i++) {
		uint8_t sector[SECTOR];
		stamp found = 0;

		if (qcowfmt_pread(image, sector, SECTOR, (uint64_t)i * SECTOR,
		                  &error) < 0)
			fail("reading", error);
		if (!read_stamp(sector, i, &found) ||
		    (found != state[i] && !is_later(seed, last, i, found))) {
			fprintf(stderr,
			        "sector %" PRIu32 " holds %" PRIu32
			        ", not %" PRIu32 " or later than %" PRIu32 "\n",
			        i, found, state[i], last);
			exit(EXIT_FAILURE);
		}
		state[i] = found;
	}
	(void)qcowfmt_close(image, NULL);
}

int main(int argc, char **argv)
{
	static stamp state[SECTORS];
	uint64_t seed;
	uint32_t first;
	uint32_t last;

	if (argc < 5)
		fail("arguments are missing", NULL);
	seed = strtoull(argv[3], NULL, 10);
	first = (uint32_t)strtoul(argv[4], NULL, 10);
	if (strcmp(argv[1], "write") == 0)
		write_for_ever(argv[2], seed, first);
	if (argc != 7)
		fail("arguments are missing", NULL);
	last = (uint32_t)strtoul(argv[5], NULL, 10);
	use_state(argv[6], state, "rbe");
	replay(state, seed, first, last);
	judge(argv[2], state, seed, last);
	use_state(argv[6], state, "wbe");
	printf("%" PRIu32 "\n", last + UNHEARD + 1);
	return EXIT_SUCCESS;
}
