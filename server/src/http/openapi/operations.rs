//! What each route takes and answers.

use crate::http::problem::Kind;

/// One method of one route.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    /// Names of shared parameters.
    pub(super) parameters: &'static [&'static str],
    /// Schema of its body, and whether there has to be one.
    pub(super) body: Option<(&'static str, bool)>,
    /// Status, schema and meaning of each success.
    pub(super) replies: &'static [(u16, &'static str, &'static str)],
    /// Headers that its replies may have.
    pub(super) headers: &'static [&'static str],
    /// What may go wrong, besides what may with any request.
    pub(super) problems: &'static [Kind],
}

const NOTHING: Operation = Operation {
    method: "get",
    path: "",
    id: "",
    summary: "",
    parameters: &[],
    body: None,
    replies: &[],
    headers: &[],
    problems: &[],
};

const OF_READS: &[Kind] = &[
    Kind::InvalidConsistency,
    Kind::InvalidKey,
    Kind::NotFound,
    Kind::NoSuchTable,
    Kind::NotImplemented,
    Kind::Unavailable,
    Kind::Draining,
    Kind::SessionUnavailable,
    Kind::ReadTimeout,
    Kind::ReadFailure,
];
const OF_WRITES: &[Kind] = &[
    Kind::InvalidConsistency,
    Kind::InvalidKey,
    Kind::NoSuchTable,
    Kind::ValueTooLarge,
    Kind::NotImplemented,
    Kind::Unavailable,
    Kind::Draining,
    Kind::ClockSkew,
    Kind::WriteTimeout,
    Kind::WriteFailure,
    Kind::StorageFull,
];
const OF_SCHEMA: &[Kind] = &[
    Kind::Draining,
    Kind::InvalidConsistency,
    Kind::NoSuchTable,
    Kind::SchemaConflict,
    Kind::Unavailable,
    Kind::ValueTooLarge,
    Kind::NotImplemented,
    Kind::WriteFailure,
];
const OF_TASKS: &[Kind] = &[
    Kind::NoSuchTable,
    Kind::Conflict,
    Kind::StorageDamaged,
    Kind::StorageFailure,
    Kind::StorageFull,
    Kind::Draining,
];

const READ: &[&str] = &[
    "table",
    "key",
    "read_consistency",
    "read_Helenus-Consistency",
    "timeout_ms",
    "Prefer",
    "trace",
    "key_encoding",
    "Helenus-Session",
];
const WRITE: &[&str] = &[
    "table",
    "key",
    "consistency",
    "Helenus-Consistency",
    "timeout_ms",
    "Prefer",
    "ttl",
    "Helenus-TTL",
    "timestamp",
    "Helenus-Timestamp",
    "trace",
    "key_encoding",
    "Helenus-Session",
];
const SCAN: &[&str] = &[
    "table",
    "read_consistency",
    "read_Helenus-Consistency",
    "timeout_ms",
    "Prefer",
    "limit",
    "page",
    "start",
    "prefix",
    "end",
    "keys_only",
    "Helenus-Session",
];
const OF_VALUES: &[&str] = &[
    "Helenus-Consistency",
    "Helenus-Coordinator",
    "Helenus-Timestamp",
    "Helenus-TTL",
    "Helenus-Trace",
    "Helenus-Deleted",
    "ETag",
    "Last-Modified",
    "Helenus-Session",
];
const OF_WRITTEN: &[&str] =
    &["Helenus-Consistency", "Helenus-Coordinator", "Helenus-Timestamp", "Helenus-Trace", "Helenus-Session"];

const TASK_REPLIES: &[(u16, &str, &str)] =
    &[(200, "Task", "The task is done"), (202, "Task", "The task is under way, at Location")];

const PUT: Operation = Operation {
    method: "put",
    path: "/v1/kv/{table}/{key}",
    id: "put",
    summary: "Write a value",
    parameters: WRITE,
    body: Some(("bytes", false)),
    replies: &[
        (200, "Written", "The level is met"),
        (202, "Written", "A hint alone holds the write, as level any allows"),
    ],
    headers: OF_WRITTEN,
    problems: OF_WRITES,
};

const GET: Operation = Operation {
    path: "/v1/kv/{table}/{key}",
    id: "get",
    summary: "Read a value",
    parameters: READ,
    replies: &[(200, "bytes", "The value"), (304, "nothing", "If-None-Match names what the value still is")],
    headers: OF_VALUES,
    problems: OF_READS,
    ..NOTHING
};

const fn report(path: &'static str, id: &'static str, summary: &'static str, reply: Replies) -> Operation {
    Operation { path, id, summary, replies: reply, ..NOTHING }
}

type Replies = &'static [(u16, &'static str, &'static str)];

const fn task(
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    parameters: &'static [&'static str],
) -> Operation {
    Operation {
        method: "post",
        path,
        id,
        summary,
        parameters,
        replies: TASK_REPLIES,
        headers: &["Location"],
        problems: OF_TASKS,
        ..NOTHING
    }
}

/// All of them.
pub(super) const OPERATIONS: &[Operation] = &[
    report("/livez", "livez", "Whether the process works", &[(200, "Health", "It does")]),
    Operation {
        problems: &[Kind::Draining],
        ..report("/readyz", "readyz", "Whether the node takes requests", &[(200, "Health", "It does")])
    },
    report("/version", "version", "The build", &[(200, "Version", "Name, version and commit")]),
    report("/metrics", "metrics", "Numbers for Prometheus", &[(200, "text", "Prometheus' text format")]),
    report("/console", "console", "The page for people", &[(200, "html", "Ring, nodes and live rates")]),
    report("/openapi.json", "openapi", "This document", &[(200, "Object", "OpenAPI 3.1")]),
    GET,
    Operation {
        method: "head",
        id: "head",
        summary: "As GET, without the value",
        replies: &[(200, "nothing", "There is a value"), (304, "nothing", "It is what If-None-Match names")],
        ..GET
    },
    PUT,
    Operation { method: "post", id: "post", summary: "As PUT", ..PUT },
    Operation {
        method: "delete",
        path: "/v1/kv/{table}/{key}",
        id: "delete",
        summary: "Write a tombstone",
        parameters: &[
            "table",
            "key",
            "consistency",
            "Helenus-Consistency",
            "timeout_ms",
            "Prefer",
            "timestamp",
            "Helenus-Timestamp",
            "trace",
            "key_encoding",
            "Helenus-Session",
        ],
        body: None,
        ..PUT
    },
    Operation {
        method: "post",
        path: "/v1/kv/{table}",
        id: "create",
        summary: "Write a value under a key that the server chooses",
        parameters: &[
            "table",
            "consistency",
            "Helenus-Consistency",
            "timeout_ms",
            "Prefer",
            "ttl",
            "Helenus-TTL",
            "timestamp",
            "Helenus-Timestamp",
            "trace",
            "Helenus-Session",
        ],
        replies: &[(201, "Created", "The level is met; the value is at Location")],
        headers: &[
            "Helenus-Consistency",
            "Helenus-Coordinator",
            "Helenus-Timestamp",
            "Helenus-Trace",
            "Helenus-Session",
            "Location",
        ],
        ..PUT
    },
    Operation {
        path: "/v1/kv/{table}",
        id: "scan",
        summary: "Read a page of a table, in token order or, on the byte-ordered partitioner, in key order",
        parameters: SCAN,
        replies: &[(200, "ScanPage", "Keys and values, and where to go on")],
        headers: &["Helenus-Consistency", "Helenus-Coordinator", "Link"],
        problems: OF_READS,
        ..NOTHING
    },
    Operation {
        method: "post",
        path: "/v1/batch",
        id: "batch",
        summary: "Several operations, each with its own result; no atomicity across keys",
        parameters: &["timeout_ms", "Prefer", "Helenus-Session"],
        body: Some(("Batch", true)),
        replies: &[(200, "BatchResults", "A result for each operation, in order")],
        headers: &["Helenus-Coordinator", "Helenus-Session"],
        problems: &[Kind::InvalidConsistency, Kind::ValueTooLarge, Kind::Draining],
    },
    report("/v1/tables", "list_tables", "All tables", &[(200, "Tables", "By name")]),
    Operation {
        path: "/v1/tables/{table}",
        id: "describe_table",
        summary: "A table",
        parameters: &["table"],
        replies: &[(200, "Table", "Its definition")],
        problems: &[Kind::NoSuchTable, Kind::Unavailable],
        ..NOTHING
    },
    Operation {
        method: "put",
        path: "/v1/tables/{table}",
        id: "define_table",
        summary: "Create a table, or change its definition; what is left out has its default",
        parameters: &["table", "timeout_ms", "Prefer"],
        body: Some(("TableDefinition", false)),
        replies: &[
            (200, "ChangedTable", "It was there"),
            (201, "ChangedTable", "It is new; of creations through several nodes at once each may say so"),
        ],
        problems: OF_SCHEMA,
        ..NOTHING
    },
    Operation {
        method: "delete",
        path: "/v1/tables/{table}",
        id: "drop_table",
        summary: "Drop a table with all that it holds",
        parameters: &["table", "timeout_ms", "Prefer"],
        replies: &[(200, "ChangedTable", "It is dropped")],
        problems: OF_SCHEMA,
        ..NOTHING
    },
    report(
        "/admin/v1/status",
        "status",
        "The members as this node sees them",
        &[(200, "Status", "By address")],
    ),
    Operation {
        parameters: &["of_table"],
        problems: &[Kind::NoSuchTable],
        ..report(
            "/admin/v1/ring",
            "ring",
            "All tokens in order",
            &[(200, "Ring", "And what each member owns")],
        )
    },
    report("/admin/v1/info", "info", "This node and its process", &[(200, "Object", "Its numbers")]),
    report(
        "/admin/v1/describe-cluster",
        "describe_cluster",
        "The cluster as a whole",
        &[(200, "Object", "Name, schema versions, datacenters, tables")],
    ),
    report(
        "/admin/v1/gossip-info",
        "gossip_info",
        "What every member says of itself",
        &[(200, "Object", "Facts with their versions")],
    ),
    report(
        "/admin/v1/failure-detector",
        "failure_detector",
        "Whom the node takes for dead, and why",
        &[(200, "FailureDetector", "Each peer")],
    ),
    Operation {
        method: "post",
        path: "/admin/v1/assassinate/{host_id}",
        id: "assassinate",
        summary: "Remove a dead member for ever",
        parameters: &["host_id", "force"],
        replies: &[(200, "Object", "It is removed")],
        problems: &[Kind::NoSuchMember, Kind::Conflict, Kind::StorageFailure, Kind::StorageFull],
        ..NOTHING
    },
    Operation {
        path: "/admin/v1/endpoints/{table}/{key}",
        id: "endpoints",
        summary: "Where the replicas of a key are",
        parameters: &["table", "key", "key_encoding"],
        replies: &[(200, "Object", "The owner of its token first")],
        problems: &[Kind::InvalidKey, Kind::NoSuchTable],
        ..NOTHING
    },
    Operation {
        path: "/admin/v1/replicas/{table}/{key}",
        id: "replicas",
        summary: "What each replica of a key holds; repairs nothing",
        parameters: &["table", "key", "key_encoding"],
        replies: &[(200, "Replicas", "Side by side, after a second at most")],
        problems: &[Kind::InvalidKey, Kind::NoSuchTable, Kind::Draining],
        ..NOTHING
    },
    Operation {
        parameters: &["of_table"],
        problems: &[Kind::NoSuchTable],
        ..report(
            "/admin/v1/table-stats",
            "table_stats",
            "What the node stores of each table",
            &[(200, "TableStats", "By name")],
        )
    },
    report(
        "/admin/v1/compaction-stats",
        "compaction_stats",
        "Merges of SSTables",
        &[(200, "CompactionStats", "What is under way, and what waits")],
    ),
    report(
        "/admin/v1/histograms",
        "histograms",
        "How long requests of clients take",
        &[(200, "Histograms", "By operation")],
    ),
    Operation {
        path: "/admin/v1/histograms/{table}",
        id: "table_histograms",
        summary: "How long the node's own reads and writes of a table take",
        parameters: &["table"],
        replies: &[(200, "TableHistograms", "By percentile")],
        problems: &[Kind::NoSuchTable],
        ..NOTHING
    },
    task("/admin/v1/flush", "flush", "Write what is in memory to SSTables", &["of_table", "wait_ms"]),
    task("/admin/v1/compact", "compact", "Merge the SSTables of a table", &["of_table", "wait_ms"]),
    task("/admin/v1/scrub", "scrub", "Read and verify every SSTable", &["mib_per_second", "wait_ms"]),
    task("/admin/v1/drain", "drain", "Take no more requests and write everything to SSTables", &["wait_ms"]),
    task(
        "/admin/v1/snapshots/{name}",
        "make_snapshot",
        "Make a snapshot of all tables",
        &["snapshot", "wait_ms"],
    ),
    Operation {
        problems: &[Kind::StorageFailure, Kind::Draining],
        ..report("/admin/v1/snapshots", "list_snapshots", "The snapshots", &[(200, "Snapshots", "By name")])
    },
    Operation {
        method: "delete",
        path: "/admin/v1/snapshots/{name}",
        id: "clear_snapshot",
        summary: "Remove a snapshot",
        parameters: &["snapshot"],
        replies: &[(200, "Object", "It is removed")],
        problems: &[Kind::NoSuchSnapshot, Kind::StorageFailure, Kind::Draining],
        ..NOTHING
    },
    report("/admin/v1/tasks", "list_tasks", "What takes long", &[(200, "Tasks", "The oldest first")]),
    Operation {
        path: "/admin/v1/tasks/{id}",
        id: "get_task",
        summary: "A task; answered when it has ended, or after wait_ms",
        parameters: &["task", "wait_ms"],
        replies: &[(200, "Task", "How it stands")],
        problems: &[Kind::NoSuchTask],
        ..NOTHING
    },
    Operation {
        method: "delete",
        path: "/admin/v1/tasks/{id}",
        id: "cancel_task",
        summary: "End a task early",
        parameters: &["task"],
        replies: &[(202, "Task", "It will end")],
        problems: &[Kind::NoSuchTask, Kind::Conflict],
        ..NOTHING
    },
    Operation {
        problems: &[Kind::NotImplemented],
        ..report(
            "/admin/v1/settings",
            "list_settings",
            "Settings that can be changed in a running node",
            &[(200, "Settings", "By name")],
        )
    },
    Operation {
        method: "put",
        path: "/admin/v1/settings/{name}",
        id: "change_setting",
        summary: "Change one; it is kept over restarts",
        parameters: &["setting", "value"],
        replies: &[(200, "Settings", "All of them")],
        problems: &[Kind::NoSuchSetting, Kind::NotImplemented, Kind::StorageFailure, Kind::StorageFull],
        ..NOTHING
    },
    Operation {
        method: "delete",
        path: "/admin/v1/settings/{name}",
        id: "reset_setting",
        summary: "Go back to what is configured",
        parameters: &["setting"],
        replies: &[(200, "Settings", "All of them")],
        problems: &[Kind::NoSuchSetting, Kind::NotImplemented, Kind::StorageFailure, Kind::StorageFull],
        ..NOTHING
    },
    Operation {
        problems: &[Kind::NotImplemented],
        ..report(
            "/admin/v1/log-level",
            "log_level",
            "What the log shows",
            &[(200, "LogFilter", "Its filter")],
        )
    },
    Operation {
        method: "put",
        path: "/admin/v1/log-level",
        id: "set_log_level",
        summary: "Change what the log shows, until the node stops",
        parameters: &["level", "target"],
        replies: &[(200, "LogFilter", "Its filter")],
        problems: &[Kind::NotImplemented, Kind::StorageFailure],
        ..NOTHING
    },
    report(
        "/admin/v1/hints",
        "hints",
        "Writes kept for members that missed them",
        &[(200, "Object", "By member")],
    ),
    Operation {
        method: "delete",
        path: "/admin/v1/hints",
        id: "truncate_hints",
        summary: "Drop them, all or those for one member",
        parameters: &["hinted"],
        replies: &[(200, "Object", "How many")],
        problems: &[Kind::NoSuchMember, Kind::StorageFailure, Kind::StorageFull],
        ..NOTHING
    },
    Operation {
        method: "delete",
        path: "/admin/v1/hints/marks",
        id: "forget_marks",
        summary: "Forget which members have to be repaired, all or one: once they were",
        parameters: &["hinted"],
        replies: &[(200, "Object", "How many")],
        problems: &[Kind::NoSuchMember, Kind::StorageFailure, Kind::StorageFull],
        ..NOTHING
    },
    Operation {
        method: "post",
        path: "/admin/v1/hints/pause",
        id: "pause_hints",
        summary: "Deliver none until told otherwise",
        replies: &[(200, "Object", "They wait")],
        problems: &[Kind::StorageFailure],
        ..NOTHING
    },
    Operation {
        method: "post",
        path: "/admin/v1/hints/resume",
        id: "resume_hints",
        summary: "Deliver them again",
        replies: &[(200, "Object", "They are delivered")],
        problems: &[Kind::StorageFailure],
        ..NOTHING
    },
];
