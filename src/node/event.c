// SPDX-License-Identifier: Apache-2.0
#include "node/event.h"

#include "base/clock.h"
#include "json/writer.h"

int node_event_append(const struct node_event *event, struct buffer *out)
{
        char time[RFC3339_SECONDS_SIZE];
        struct json_writer writer;

        rfc3339_format_seconds(event->at_ns, time);
        json_writer_init(&writer, out);
        json_begin_object(&writer);
        json_field_string(&writer, "kind", STR("Event"));
        json_field_string(&writer, "apiVersion", STR("v1"));
        json_field_object(&writer, "metadata");
        json_field_string(&writer, "name", event->name);
        json_field_string(&writer, "namespace", event->about.namespace);
        json_end_object(&writer);
        json_field_object(&writer, "involvedObject");
        json_field_string(&writer, "apiVersion", event->about.api_version);
        json_field_string(&writer, "kind", event->about.kind);
        json_field_string(&writer, "namespace", event->about.namespace);
        json_field_string(&writer, "name", event->about.name);
        json_field_string(&writer, "uid", event->about.uid);
        json_end_object(&writer);
        json_field_string(&writer, "reason", event->reason);
        json_field_string(&writer, "message", event->message);
        json_field_string(&writer, "type", event->is_warning ? STR("Warning") : STR("Normal"));
        json_field_string(&writer, "firstTimestamp", str_from(time));
        json_field_string(&writer, "lastTimestamp", str_from(time));
        json_field_int(&writer, "count", 1);
        json_field_object(&writer, "source");
        json_field_string(&writer, "component", event->component);
        json_field_string(&writer, "host", event->host);
        json_end_object(&writer);
        json_field_string(&writer, "reportingComponent", event->component);
        json_field_string(&writer, "reportingInstance", event->host);
        json_end_object(&writer);
        return json_writer_finish(&writer);
}
