/* SPDX-License-Identifier: MIT */
/*
 * points.h - moments at which another thread may go on
 *
 * The scheduler is asked before each of these takes place.  What happens between
 * two of them happens at once.
 */
#ifndef QCF_POINTS_H
#define QCF_POINTS_H

#include <stdbool.h>

enum qcf_point {
	QCF_POINT_START, /* of a thread */
	QCF_POINT_END,
	QCF_POINT_JOIN,
	QCF_POINT_CALL, /* of the library, by a test */
	QCF_POINT_RETURN,
	QCF_POINT_LOCK,
	QCF_POINT_UNLOCK,
	QCF_POINT_WAIT,
	QCF_POINT_BROADCAST,
	QCF_POINT_LOAD,
	QCF_POINT_STORE,
	QCF_POINT_CHANGE,
	QCF_POINT_WEAK_LOAD, /* atomic, but ordered by something else */
	QCF_POINT_WEAK_STORE,
	QCF_POINT_READ, /* storage: begins, is half done, ends */
	QCF_POINT_WRITE,
	QCF_POINT_FLUSH,
	QCF_POINT_SIZE,
	QCF_POINTS
};

/* What takes place concerns an object in memory, or none. */
void qcf_point(enum qcf_point kind, const volatile void *object);

/* Something has taken place that was announced without its object, because the
 * moment was not known: a mutex was acquired. */
void qcf_happened(enum qcf_point kind, const volatile void *object);

#endif
