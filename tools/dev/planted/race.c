/* SPDX-License-Identifier: MIT */
/* race.c - two threads, one counter, no lock: the race checker must notice */
#include <pthread.h>
#include <stddef.h>

static long counter;

static void *count(void *unused)
{
	for (int i = 0; i < 100000; i++)
		counter++;
	return unused;
}

int main(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, count, NULL) != 0)
		return 0;
	count(NULL);
	pthread_join(thread, NULL);
	return 0;
}
