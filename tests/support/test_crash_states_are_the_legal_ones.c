/* SPDX-License-Identifier: MIT */
/*
 * Promise: the states visited for a short log are exactly those a power cut can
 * leave, each once, and a sampled window has at least the regular ones.
 */
#include <string.h>

#include "crash_states.h"
#include "unit.h"

#define CAPACITY   65536u
#define MAX_STATES 8192

/* A state in words: size in sectors and the first byte of each sector; the data
 * file, if there is one, behind a bar. */
struct seen {
	char text[MAX_STATES][32];
	int count;
};

static struct seen seen;

static size_t spell(const struct byte_image *image, char *text, size_t used)
{
	const uint8_t *bytes = byte_image_bytes(image);
	size_t size = byte_image_size(image);

	for (size_t at = 0; at < size && used < 30; at += 512)
		text[used++] = (char)(bytes[at] == 0 ? '.' : bytes[at]);
	return used;
}

/* Changes made by a visitor must not leak into other states. */
static void spoil(struct byte_image *image)
{
	byte_image_set_size(image, 0);
	byte_image_write(image, 100, "garbage", 7);
}

static bool note(void *opaque, const struct crash_state *state)
{
	char *text = seen.text[seen.count];
	size_t used = spell(state->image, text, 0);

	(void)opaque;
	ck_assert_int_lt(seen.count, MAX_STATES - 1);
	if (state->data != NULL) {
		text[used++] = '|';
		used = spell(state->data, text, used);
		spoil(state->data);
	}
	text[used] = '\0';
	seen.count++;
	spoil(state->image);
	return true;
}

static bool has(const char *text)
{
	for (int i = 0; i < seen.count; i++) {
		if (strcmp(seen.text[i], text) == 0)
			return true;
	}
	return false;
}

static struct crash_totals visit_with(const struct rec_log *log,
                                      const struct crash_options *options)
{
	struct crash_totals totals = { 0 };

	seen.count = 0;
	ck_assert(crash_states_visit(log, options, note, NULL, &totals));
	ck_assert_uint_eq(totals.states, (uint64_t)seen.count);
	return totals;
}

static struct crash_totals visit_all(const struct rec_log *log)
{
	return visit_with(log, &(struct crash_options){ .seed = 1 });
}

/* Whether a state is seen with one of many seeds. */
static bool is_found(const struct rec_log *log, const char *text)
{
	for (uint64_t seed = 1; seed <= 200; seed++) {
		visit_with(log, &(struct crash_options){ .seed = seed });
		if (has(text))
			return true;
	}
	return false;
}

/* The visited states are these and no others. */
static void assert_states(const struct rec_log *log, const char *const *wanted,
                          int count)
{
	visit_all(log);
	for (int i = 0; i < count; i++)
		ck_assert_msg(has(wanted[i]), "'%s' is missing", wanted[i]);
	for (int i = 0; i < seen.count; i++) {
		bool known = false;

		for (int k = 0; k < count; k++)
			known |= strcmp(seen.text[i], wanted[k]) == 0;
		ck_assert_msg(known, "'%s' is not legal", seen.text[i]);
	}
	ck_assert_int_eq(seen.count, count);
}

#define assert_states_are(log, ...)                                       \
	do {                                                              \
		static const char *const wanted_[] = { __VA_ARGS__ };     \
                                                                          \
		assert_states(log, wanted_, (int)QCF_ARRAY_LEN(wanted_)); \
	} while (0)

static struct rec_log *log_;
static struct qcowfmt_storage *s, *data;

static void put_into(struct qcowfmt_storage *storage, uint64_t sector,
                     const char *letters)
{
	uint8_t bytes[512 * 32];
	size_t count = strlen(letters);

	for (size_t i = 0; i < count; i++)
		memset(bytes + i * 512, letters[i], 512);
	ck_assert_int_eq(qcf_storage_pwrite(storage, bytes, count * 512,
	                                    sector * 512, NULL),
	                 0);
}

static void put(uint64_t sector, const char *letters)
{
	put_into(s, sector, letters);
}

static void flush(void)
{
	ck_assert_int_eq(qcf_storage_flush(s, NULL), 0);
}

/* Recording begins with some sectors there already. */
static void begin(const char *letters)
{
	log_ = rec_log_new(CAPACITY);
	s = rec_storage_new(log_);
	if (letters[0] != '\0')
		put(0, letters);
	rec_log_restart(log_);
}

/* The same with a data file. */
static void begin_two(const char *letters, const char *data_letters)
{
	begin(letters);
	rec_log_add_data(log_, CAPACITY);
	data = rec_data_storage_new(log_);
	put_into(data, 0, data_letters);
	rec_log_restart(log_);
}

static void end(void)
{
	qcowfmt_storage_free(qcf_take(&data));
	qcowfmt_storage_free(s);
	rec_log_free(log_);
}

START_TEST(no_operation)
{
	begin("ab");
	assert_states_are(log_, "ab");
	end();
}

END_TEST

START_TEST(two_writes)
{
	begin("abc");
	put(0, "X");
	put(2, "Y");
	assert_states_are(log_, "abc", "Xbc", "abY", "XbY");
	end();
}

END_TEST

START_TEST(newer_write_wins)
{
	begin("a");
	put(0, "X");
	put(0, "Y");
	assert_states_are(log_, "a", "X", "Y");
	end();
}

END_TEST

START_TEST(flush_makes_stable)
{
	begin("ab");
	put(0, "X");
	flush();
	put(1, "Y");
	assert_states_are(log_, "ab", "Xb", "XY");
	end();
}

END_TEST

START_TEST(torn_write)
{
	begin("abc");
	put(0, "XYZ");
	assert_states_are(log_, "abc", "XYZ", "Xbc", "aYZ", "abZ", "XYc", "XbZ",
	                  "aYc");
	end();
}

END_TEST

START_TEST(growing_write)
{
	begin("a");
	put(1, "X");
	assert_states_are(log_, "a", "a.", "aX");
	end();
}

END_TEST

START_TEST(bytes_without_their_growth)
{
	begin("a");
	put(1, "X");
	put(2, "Y");
	/* The second growth uncovers what the first write brought. */
	assert_states_are(log_, "a", "a.", "aX", "a..", "aX.", "a.Y", "aXY");
	end();
}

END_TEST

START_TEST(truncations)
{
	begin("abc");
	ck_assert_int_eq(qcf_storage_truncate(s, 512, NULL), 0);
	ck_assert_int_eq(qcf_storage_truncate(s, 1024, NULL), 0);
	/* Once cut, the old bytes do not come back. */
	assert_states_are(log_, "abc", "a", "a.");
	end();
}

END_TEST

START_TEST(zeros_and_discards)
{
	begin("ab");
	ck_assert_int_eq(qcf_storage_zero(s, 0, 512, true, NULL), 0);
	ck_assert_int_eq(qcf_storage_discard(s, 512, 512, NULL), 0);
	assert_states_are(log_, "ab", ".b", "a.", "..");
	end();
}

END_TEST

START_TEST(small_writes_are_not_torn)
{
	begin("ab");
	ck_assert_int_eq(qcf_storage_pwrite(s, "XXXXXXXX", 8, 0, NULL), 0);
	assert_states_are(log_, "ab", "Xb");
	end();
}

END_TEST

START_TEST(unaligned_write_is_torn_at_the_sector)
{
	uint8_t bytes[600];

	begin("ab");
	memset(bytes, 'X', sizeof(bytes));
	/* Bytes 500 to 1100, of which 1024 to 1100 are beyond the end. */
	ck_assert_int_eq(qcf_storage_pwrite(s, bytes, 600, 500, NULL), 0);
	visit_all(log_);
	/* Sectors 0, 1 and 2 each arrive or not; the size grows or not. */
	ck_assert(has("aX"));
	ck_assert(has("ab"));
	ck_assert(has("aXX"));
	ck_assert(has("abX"));
	ck_assert(has("aX."));
	end();
}

END_TEST

/* Sectors 4 to 27, of which 8, 16 and 24 begin a unit of 4096 bytes. */
START_TEST(write_is_torn_at_4096)
{
	static const char *const torn[] = {
		"aaaaXXXXaaaaaaaaaaaaaaaaaaaa", "aaaaXXXXXXXXXXXXaaaaaaaaaaaa",
		"aaaaXXXXXXXXXXXXXXXXXXXXaaaa", "aaaaXXXXaaaaaaaaXXXXXXXXXXXX",
		"aaaaaaaaXXXXXXXXaaaaaaaaXXXX", "aaaaXXXXXXXXXXXXaaaaaaaaXXXX",
		"aaaaaaaaaaaaaaaaXXXXXXXXaaaa", "aaaaaaaaaaaaaaaaaaaaaaaaXXXX",
	};

	begin("aaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	put(4, "XXXXXXXXXXXXXXXXXXXXXXXX");
	for (size_t i = 0; i < QCF_ARRAY_LEN(torn); i++)
		ck_assert_msg(is_found(log_, torn[i]), "'%s' is missing",
		              torn[i]);
	end();
}

END_TEST

static void discard(uint64_t sector, uint64_t count)
{
	ck_assert_int_eq(
		qcf_storage_discard(s, sector * 512, count * 512, NULL), 0);
}

START_TEST(discard_can_be_late)
{
	begin("abc");
	discard(0, 1);
	put(1, "X");
	flush();
	put(2, "Y");
	flush();
	put(2, "Z");
	/* At once, behind one flush, behind two, and never. */
	ck_assert(is_found(log_, ".bc"));
	ck_assert(is_found(log_, ".Xc"));
	ck_assert(is_found(log_, "aXY"));
	ck_assert(is_found(log_, ".XY"));
	ck_assert(is_found(log_, "aXZ"));
	ck_assert(is_found(log_, ".XZ"));
	end();
}

END_TEST

START_TEST(discard_is_not_later_than_what_is_written)
{
	begin("abc");
	discard(0, 2);
	put(1, "X");
	flush();
	put(2, "Y");
	for (uint64_t seed = 1; seed <= 200; seed++) {
		visit_with(log_, &(struct crash_options){ .seed = seed });
		for (int i = 0; i < seen.count; i++)
			ck_assert(seen.text[i][2] == 'c' ||
			          seen.text[i][1] == 'X');
	}
	end();
}

END_TEST

START_TEST(size_and_bytes_are_ordered_in_any_way)
{
	begin("ab");
	put(1, "XY");
	ck_assert_int_eq(qcf_storage_truncate(s, 4 * 512, NULL), 0);
	/* The old size with the new bytes in it, each size with the old bytes,
	 * and the last size with all or a part of them. */
	visit_all(log_);
	ck_assert(has("aX"));
	ck_assert(has("ab."));
	ck_assert(has("ab.."));
	ck_assert(has("aX.."));
	ck_assert(has("aXY."));
	ck_assert(has("aX."));
	ck_assert(has("abY."));
	end();
}

END_TEST

START_TEST(known_states_are_left_out)
{
	struct crash_totals totals;
	size_t from;

	begin("abc");
	put(0, "X");
	flush();
	put(1, "Y");
	from = log_->count;
	put(2, "Z");
	totals = visit_with(log_,
	                    &(struct crash_options){ .seed = 1, .from = from });
	ck_assert_uint_eq(totals.known, 2); /* "abc" and "Xbc" */
	ck_assert(!has("abc"));
	ck_assert(!has("Xbc"));
	ck_assert(has("XYc"));
	ck_assert(has("XYZ"));
	ck_assert(has("XbZ"));
	end();
}

END_TEST

START_TEST(mark_begins_anew)
{
	begin("ab");
	put(0, "X");
	rec_log_mark(log_);
	visit_all(log_);
	/* Both states, before and after the mark. */
	ck_assert_int_eq(seen.count, 4);
	end();
}

END_TEST

START_TEST(nothing_is_a_state_behind_a_mark_too)
{
	begin("");
	rec_log_mark(log_);
	visit_all(log_);
	ck_assert_int_eq(seen.count, 2);
	end();
}

END_TEST

START_TEST(long_windows_are_sampled)
{
	struct crash_totals totals;
	char text[32] = "aaaaaaaaaaaaaaaaaaaa";

	begin(text);
	for (uint64_t i = 0; i < 20; i++)
		put(i, "X");
	totals = visit_all(log_);
	ck_assert_uint_eq(totals.sampled, 1);
	ck_assert_int_gt(seen.count, 3 * 19 + 200);
	for (int i = 0; i < 20; i++) {
		text[i] = 'X';
		ck_assert(has(text)); /* prefix */
	}
	for (int i = 0; i < 20; i++) {
		text[i] = 'a';
		ck_assert(has(text)); /* single drop */
		text[i] = 'X';
	}
	memset(text, 'a', 20);
	for (int i = 0; i < 20; i++) {
		text[i] = 'X';
		ck_assert(has(text)); /* single survivor */
		text[i] = 'a';
	}
	end();
}

END_TEST

START_TEST(files_are_independent)
{
	begin_two("a", "b");
	put(0, "X");
	put_into(data, 0, "Y");
	assert_states_are(log_, "a|b", "X|b", "a|Y", "X|Y");
	end();
}

END_TEST

START_TEST(flush_is_of_one_file)
{
	begin_two("a", "b");
	put_into(data, 0, "Y");
	put(0, "X");
	flush();
	put(0, "Z");
	/* Y may still be missing behind the flush of X. */
	assert_states_are(log_, "a|b", "a|Y", "X|b", "X|Y", "Z|b", "Z|Y");
	end();
}

END_TEST

START_TEST(flushed_data_is_there_before_what_follows)
{
	begin_two("a", "b");
	put_into(data, 0, "Y");
	ck_assert_int_eq(qcf_storage_flush(data, NULL), 0);
	put(0, "X");
	assert_states_are(log_, "a|b", "a|Y", "X|Y");
	end();
}

END_TEST

START_TEST(each_file_has_its_size)
{
	begin_two("a", "b");
	put_into(data, 1, "Y");
	ck_assert_int_eq(qcf_storage_truncate(s, 0, NULL), 0);
	assert_states_are(log_, "a|b", "|b", "a|b.", "|b.", "a|bY", "|bY");
	end();
}

END_TEST

static bool stop(void *opaque, const struct crash_state *state)
{
	(void)state;
	return --*(int *)opaque > 0;
}

START_TEST(visitor_can_stop)
{
	struct crash_options options = { .seed = 1 };
	struct crash_totals totals = { 0 };
	int left = 3;

	begin("abc");
	put(0, "XYZ");
	ck_assert(!crash_states_visit(log_, &options, stop, &left, &totals));
	ck_assert_uint_eq(totals.states, 3);
	end();
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, no_operation);
	tcase_add_test(tcase, two_writes);
	tcase_add_test(tcase, newer_write_wins);
	tcase_add_test(tcase, flush_makes_stable);
	tcase_add_test(tcase, torn_write);
	tcase_add_test(tcase, growing_write);
	tcase_add_test(tcase, bytes_without_their_growth);
	tcase_add_test(tcase, truncations);
	tcase_add_test(tcase, zeros_and_discards);
	tcase_add_test(tcase, small_writes_are_not_torn);
	tcase_add_test(tcase, unaligned_write_is_torn_at_the_sector);
	tcase_add_test(tcase, write_is_torn_at_4096);
	tcase_add_test(tcase, discard_can_be_late);
	tcase_add_test(tcase, discard_is_not_later_than_what_is_written);
	tcase_add_test(tcase, size_and_bytes_are_ordered_in_any_way);
	tcase_add_test(tcase, known_states_are_left_out);
	tcase_add_test(tcase, mark_begins_anew);
	tcase_add_test(tcase, nothing_is_a_state_behind_a_mark_too);
	tcase_add_test(tcase, long_windows_are_sampled);
	tcase_add_test(tcase, files_are_independent);
	tcase_add_test(tcase, flush_is_of_one_file);
	tcase_add_test(tcase, flushed_data_is_there_before_what_follows);
	tcase_add_test(tcase, each_file_has_its_size);
	tcase_add_test(tcase, visitor_can_stop);
}

int main(void)
{
	return unit_run("crash_states_are_the_legal_ones", add);
}
