//! A file of the node's own: `dc=` and `rack=`, as Cassandra's cassandra-rackdc.properties.

use super::{
    Locality,
    properties::{self, LineError},
};

/// Reads a file.
///
/// # Errors
/// Every line that is wrong, or that one is missing (as line 0).
pub fn parse(text: &str) -> Result<Locality, Vec<LineError>> {
    let (mut datacenter, mut rack) = (None, None);
    let mut errors = Vec::new();
    for property in properties::lines(text) {
        let property = match property {
            Ok(property) => property,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        let name = match property.key.as_str() {
            "dc" => &mut datacenter,
            "rack" => &mut rack,
            other => {
                let what = format!("there is no `{}` here; there are `dc` and `rack`", other.escape_debug());
                errors.push(property.error(what));
                continue;
            }
        };
        if name.is_some() {
            errors.push(property.error(format!("`{}` has a line already", property.key)));
        }
        *name = Some(property.value);
    }
    let missing = |name: &str| LineError { line: 0, what: format!("there is no line `{name}=…`") };
    if datacenter.is_none() {
        errors.push(missing("dc"));
    }
    if rack.is_none() {
        errors.push(missing("rack"));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Locality::new(&datacenter.unwrap_or_default(), &rack.unwrap_or_default())
        .map_err(|what| vec![LineError { line: 0, what }])
}
