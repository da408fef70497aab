// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plan/observer.h"
#include "serve/trace.h"

/*
 * Spans of what the controllers do: one for each object that a plan works for, named as upstream's
 * controller names them (ReconcileSandboxClaim, ReconcileSandbox …), and below it one for each
 * write to the API. They continue the trace of the object's annotation
 * opentelemetry.io/trace-context. Without that the trace's id comes of the uid: of the claim for
 * its Sandbox too, so that all that is done for a claim is one trace, with no write to remember it.
 */
struct plan_trace;

/* The tracer is borrowed. Returns 0 or -ENOMEM. */
int plan_trace_new(struct tracer *tracer, struct plan_trace **ret_trace);
void plan_trace_free(struct plan_trace *trace);

/* For controllers_observe(). */
const struct plan_observer *plan_trace_observer(const struct plan_trace *trace);
