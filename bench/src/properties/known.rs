//! The names of YCSB's client and core workload, and ours.

/// Names that mean something here.
const USED: &[&str] = &[
    "core_workload_insertion_keep_going_on_error",
    "core_workload_insertion_retry_interval",
    "core_workload_insertion_retry_limit",
    "dataintegrity",
    "exponential.frac",
    "exponential.percentile",
    "exporter",
    "exportfile",
    "fieldcount",
    "fieldlength",
    "fieldlengthdistribution",
    "fieldlengthhistogram",
    "fieldnameprefix",
    "hdrhistogram.fileoutput",
    "hdrhistogram.output.path",
    "hdrhistogram.percentiles",
    "helenus.consistency",
    "helenus.endpoints",
    "helenus.routing",
    "helenus.update",
    "hotspotdatafraction",
    "hotspotopnfraction",
    "insertcount",
    "insertorder",
    "insertproportion",
    "insertstart",
    "label",
    "maxexecutiontime",
    "maxscanlength",
    "measurement.interval",
    "minfieldlength",
    "minscanlength",
    "operationcount",
    "readallfields",
    "readmodifywriteproportion",
    "readproportion",
    "recordcount",
    "requestdistribution",
    "scanlengthdistribution",
    "scanproportion",
    "status",
    "status.interval",
    "table",
    "target",
    "threadcount",
    "updateproportion",
    "workload",
    "writeallfields",
    "zeropadding",
];

/// Names of YCSB that choose something which exists only once here, or which one value for each record makes moot.
const MOOT: &[&str] = &[
    "db",
    "dotransactions",
    "measurement.histogram.verbose",
    "measurementtype",
    "readallfieldsbyname",
    "spin.sleep",
];

pub(super) fn is_known(name: &str) -> bool {
    USED.contains(&name) || MOOT.contains(&name)
}

#[cfg(test)]
pub(super) fn is_used(name: &str) -> bool {
    USED.contains(&name)
}
