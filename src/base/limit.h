// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Every limit on what comes from outside, in one place. Sizes are bytes unless the name says
 * otherwise. A limit that a user can meet is named in docs/limits.md.
 */
enum {
        LIMIT_BODY = 3 * 1024 * 1024,         /* a request body of the Kubernetes API */
        LIMIT_CONVERSION = 16 * 1024 * 1024,  /* one ConversionReview */
        LIMIT_CONVERSIONS = 64 * 1024 * 1024, /* all that are being received by one webhook */
        LIMIT_API_ANSWER = 64 * 1024 * 1024,  /* what an API server answers to one request */
        LIMIT_HEAD = 64 * 1024,               /* request line and headers of one message */
        LIMIT_HEADERS = 128,                  /* header fields in one message */
        LIMIT_DEPTH = 64,                     /* nested arrays and objects in a document */
        LIMIT_OBJECT = 1536 * 1024,     /* one stored object, as etcd's default request limit */
        LIMIT_NAME = 253,               /* a DNS subdomain, RFC 1123 */
        LIMIT_LABEL = 63,               /* a DNS label, a label value */
        LIMIT_ANNOTATIONS = 256 * 1024, /* all keys and values of one object */
        LIMIT_PATCH_OPERATIONS = 10000, /* operations in one JSON patch, as kube-apiserver */
        LIMIT_WRITE_QUEUE = 4096,       /* accepted writes that wait for the disk */
        LIMIT_WATCH_LOG_EVENTS = 65536, /* events kept in memory for watches to resume from */
        LIMIT_WATCH_LOG_BYTES = 24 * 1024 * 1024, /* bytes of old objects that those events keep */
        LIMIT_WATCH_BACKLOG = 16 * 1024 * 1024, /* unsent bytes of one watch before it is closed */
        LIMIT_FOLLOWED_KINDS = 1000,     /* beside those that controllers read, by collection */
        LIMIT_CONNECTIONS = 16384,       /* open connections of one server */
        LIMIT_CONNECTIONS_REFUSED = 256, /* beyond those, to be told that they are */
        LIMIT_HEAD_MS =
                10 * 1000, /* from connecting, or a head's first byte, to its end: TLS too */
        LIMIT_IDLE_MS = 180 * 1000,              /* between requests on one connection */
        LIMIT_BODY_MS = 60 * 1000,               /* without a byte of a body that we wait for */
        LIMIT_WRITE_MS = 60 * 1000,              /* with bytes to send and none taken by the peer */
        LIMIT_CONTAINERS = 16,                   /* containers of one Pod that the node runs */
        LIMIT_MOUNTS = 24,                       /* volumes mounted into one container */
        LIMIT_ARGUMENTS = 128 * 1024,            /* argv and environment of one container process */
        LIMIT_COMMAND_OUTPUT = 16 * 1024 * 1024, /* kept of each output of one /execute */
        LIMIT_GRPC_MESSAGE = 4 * 1024 * 1024,    /* a request of sandboxd's process API */
        LIMIT_PROCESS_WORDS = 65536,             /* its words, and its variables */
        LIMIT_PROCESS_INPUT = 4 * 1024 * 1024,   /* unread bytes of a process's standard input */
        LIMIT_DIRECTORY_ENTRIES = 200000,        /* listed by sandboxd */
        LIMIT_PART_HEADERS = 8192,               /* all header lines of one part of a form */
        LIMIT_LOG_RING = 4 * 1024 * 1024,        /* a container's log ring */
};
