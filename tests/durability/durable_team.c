/* SPDX-License-Identifier: MIT */
/*
 * durable_team.c - threads that write to a disk and say what is acknowledged
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "durable_team.h"

/* Operations of the first thread between two calls of keep(). */
#define KEEP_EVERY 40u

struct team {
	const struct disk *disk;
	struct history history;
	uint32_t first;
	int fd;
	atomic_bool failed;
	/* Operations hold it shared, keep() alone. */
	pthread_rwlock_t pause;
	/* Whoever wants pause passes through it, or keep() would wait for ever. */
	pthread_mutex_t turnstile;
	_Atomic uint32_t done[MAX_THREADS];
};

struct member {
	struct team *team;
	uint32_t thread;
	/* What devices read has to be aligned. */
	uint8_t *buffer;
	pthread_t id;
};

int team_say(int fd, const char *format, ...)
{
	char line[256];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	return len > 0 && write(fd, line, (size_t)len) == len ? 0 : -1;
}

static struct moment done_now(struct team *team)
{
	struct moment m;

	for (uint32_t t = 0; t < MAX_THREADS; t++)
		m.number[t] = atomic_load(&team->done[t]);
	return m;
}

static int perform(struct member *m, const struct operation *op,
                   uint32_t number)
{
	const struct disk *disk = m->team->disk;
	uint64_t offset = (uint64_t)op->first * SECTOR;
	size_t len = (size_t)op->count * SECTOR;
	stamp s = history_stamp(op, m->thread, number);

	if (op->zeroes)
		return disk->zero(disk->opaque, len, offset);
	for (uint32_t i = 0; i < op->count; i++)
		history_fill(m->buffer + (size_t)i * SECTOR, op->first + i, s);
	return disk->write(disk->opaque, m->buffer, len, offset);
}

static int flush(struct team *team)
{
	/* What completes from here on may be stable, but is not promised. */
	struct moment m = done_now(team);

	if (team->disk->flush(team->disk->opaque) < 0)
		return -1;
	return team_say(team->fd,
	                "a %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32 "\n",
	                m.number[0], m.number[1], m.number[2], m.number[3]);
}

static int step(struct member *m, uint32_t number)
{
	struct team *team = m->team;
	struct operation op =
		history_operation(&team->history, m->thread, number);
	int ret;

	pthread_mutex_lock(&team->turnstile);
	pthread_rwlock_rdlock(&team->pause);
	pthread_mutex_unlock(&team->turnstile);
	ret = perform(m, &op, number);
	if (ret == 0)
		atomic_store(&team->done[m->thread], number);
	pthread_rwlock_unlock(&team->pause);
	if (ret == 0 && op.flush)
		ret = flush(team);
	return ret;
}

static int keep(struct team *team)
{
	struct moment m;
	int ret;

	pthread_mutex_lock(&team->turnstile);
	pthread_rwlock_wrlock(&team->pause);
	pthread_mutex_unlock(&team->turnstile);
	m = done_now(team);
	ret = team->disk->keep(team->disk->opaque, &m);
	pthread_rwlock_unlock(&team->pause);
	return ret;
}

static void *work(void *opaque)
{
	struct member *m = opaque;
	struct team *team = m->team;
	bool keeps = m->thread == 0 && team->disk->keep != NULL;

	for (uint32_t n = team->first; !atomic_load(&team->failed); n++) {
		if (step(m, n) < 0 ||
		    (keeps && n % KEEP_EVERY == 0 && keep(team) < 0))
			atomic_store(&team->failed, true);
	}
	return NULL;
}

uint32_t team_run(const struct disk *disk, const struct history *h,
                  uint32_t first, int fd)
{
	uint32_t next = first;
	struct team team = {
		.disk = disk, .history = *h, .first = first, .fd = fd
	};
	struct member members[MAX_THREADS];

	pthread_rwlock_init(&team.pause, NULL);
	pthread_mutex_init(&team.turnstile, NULL);
	for (uint32_t t = 0; t < MAX_THREADS; t++)
		atomic_store(&team.done[t], first - 1);
	for (uint32_t t = 0; t < h->threads; t++) {
		members[t] = (struct member){ .team = &team, .thread = t };
		members[t].buffer = aligned_alloc(4096, MAX_RUN * SECTOR);
		if (members[t].buffer == NULL ||
		    pthread_create(&members[t].id, NULL, work, &members[t]) !=
		            0)
			abort();
	}
	for (uint32_t t = 0; t < h->threads; t++) {
		pthread_join(members[t].id, NULL);
		free(members[t].buffer);
		if (atomic_load(&team.done[t]) >= next)
			next = atomic_load(&team.done[t]) + 1;
	}
	pthread_mutex_destroy(&team.turnstile);
	pthread_rwlock_destroy(&team.pause);
	return next + UNHEARD;
}
