// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "apiserver/call.h"

/*
 * Nobody gives away rights that she does not have herself (k8s.io/kubernetes
 * pkg/registry/rbac), unless she may "escalate" roles or "bind" them. Inside a judge. Each returns
 * 0, or what api_call_refuse() does.
 */
int escalation_check_role(struct api_call *call, struct json_value role);
int escalation_check_binding(struct api_call *call, struct json_value binding);
