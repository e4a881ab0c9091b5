//! The custom resource definitions, one file each. Both serve the versions v1 and v2.
//!
//! The conversion strategy is `None`: the API server changes only `apiVersion`. Both versions therefore have the same
//! schema, the union of both. One default differs: only version v1 sets `spec.local.announce`. The value stays in
//! storage, so it shows later through which version an object was written (design, section 3).

use std::path::Path;
use std::{fs, io};

use api_types::{LBNodeAgent, ServiceGroup};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;
use thiserror::Error;

/// Why the definitions could not be generated or written.
#[derive(Debug, Error)]
pub enum CrdError {
    /// A derived definition does not have the expected structure.
    #[error("the derived definition of {0} has no {1}: adapt the crate crds to the structure that kube derives")]
    Shape(&'static str, &'static str),
    /// A definition could not be turned into YAML.
    #[error("cannot write the definition as YAML: {0}")]
    Yaml(#[from] serde_yaml_ng::Error),
    /// A definition could not be turned into JSON.
    #[error("cannot write the definition as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A file could not be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: String,
        /// The error of the system.
        source: io::Error,
    },
}

/// The definitions, each as file name and YAML.
///
/// # Errors
/// A derived definition does not have the expected structure.
pub fn files() -> Result<Vec<(&'static str, String)>, CrdError> {
    let mut files = Vec::new();
    for (name, definition) in [("servicegroups.yaml", service_group()?), ("lbnodeagents.yaml", lb_node_agent()?)] {
        let mut definition = serde_json::to_value(definition)?;
        drop_nullable(&mut definition);
        let yaml = quote_enums(&serde_yaml_ng::to_string(&definition)?);
        files.push((name, format!("# Generated from the crate api-types by `make crds`; do not edit.\n{yaml}")));
    }
    Ok(files)
}

/// Quotes the values of enums. YAML 1.1, which `kubectl` and Helm read, has more words for booleans than YAML 1.2, which
/// the serializer writes: `off`, `no` and `y` are among them.
fn quote_enums(yaml: &str) -> String {
    let mut quoted = String::new();
    let mut indentation: Option<usize> = None;
    for line in yaml.lines() {
        let text = line.trim_start();
        let depth = line.len() - text.len();
        let value = text.strip_prefix("- ").filter(|_| indentation == Some(depth));
        match value {
            Some(value) if !value.starts_with(['"', '\'']) => {
                quoted.push_str(&" ".repeat(depth));
                quoted.extend(["- \"", value, "\""]);
            }
            Some(_) => quoted.push_str(line),
            None => {
                indentation = (text == "enum:").then_some(depth);
                quoted.push_str(line);
            }
        }
        quoted.push('\n');
    }
    quoted
}

/// Writes [`files`] into a directory.
///
/// # Errors
/// A file cannot be written.
pub fn write(directory: &Path) -> Result<(), CrdError> {
    for (name, yaml) in files()? {
        let path = directory.join(name);
        fs::write(&path, yaml).map_err(|source| CrdError::Write { path: path.display().to_string(), source })?;
    }
    Ok(())
}

fn service_group() -> Result<CustomResourceDefinition, CrdError> {
    let mut definition = ServiceGroup::crd();
    let mut v1 = as_v1(&mut definition, "ServiceGroup")?;
    let announce = ["spec", "local", "announce"]
        .into_iter()
        .try_fold(schema_of(&mut v1)?, |schema, name| schema.properties.as_mut()?.get_mut(name))
        .ok_or(CrdError::Shape("ServiceGroup", "spec.local.announce"))?;
    announce.default = Some(JSON(serde_json::json!("SubnetOrRouted")));
    drop_aggregation_rules(schema_of(&mut v1)?);
    definition.spec.versions.push(v1);
    Ok(definition)
}

/// Removes the rules for `aggregation`, which version v1 does not have (specification, api.md 4). There the condition
/// `Ready` shows that a value is not valid.
fn drop_aggregation_rules(schema: &mut JSONSchemaProps) {
    for (name, property) in schema.properties.iter_mut().flatten() {
        if name == "aggregation" {
            property.x_kubernetes_validations = None;
        }
        drop_aggregation_rules(property);
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut property.items {
            drop_aggregation_rules(items);
        }
    }
}

fn lb_node_agent() -> Result<CustomResourceDefinition, CrdError> {
    let mut definition = LBNodeAgent::crd();
    let v1 = as_v1(&mut definition, "LBNodeAgent")?;
    definition.spec.versions.push(v1);
    for version in &mut definition.spec.versions {
        let detection = ["spec", "local", "conflictDetection"]
            .into_iter()
            .try_fold(schema_of(version)?, |schema, name| schema.properties.as_mut()?.get_mut(name))
            .and_then(|schema| schema.enum_.as_mut())
            .ok_or(CrdError::Shape("LBNodeAgent", "enum of spec.local.conflictDetection"))?;
        // The earlier name of `Disabled`.
        detection.push(JSON(serde_json::json!("Off")));
    }
    Ok(definition)
}

/// Removes `nullable`, which kube sets for every optional field. Without it, the API server drops a null before it
/// applies defaults and rules, so null means absent.
fn drop_nullable(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            map.remove("nullable");
            map.values_mut().for_each(drop_nullable);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(drop_nullable),
        _ => {}
    }
}

/// A copy of the derived version as v1, which is served but not stored.
fn as_v1(
    definition: &mut CustomResourceDefinition,
    kind: &'static str,
) -> Result<CustomResourceDefinitionVersion, CrdError> {
    let v2 = definition.spec.versions.first().ok_or(CrdError::Shape(kind, "version"))?;
    let mut v1 = v2.clone();
    "v1".clone_into(&mut v1.name);
    v1.storage = false;
    Ok(v1)
}

fn schema_of(version: &mut CustomResourceDefinitionVersion) -> Result<&mut JSONSchemaProps, CrdError> {
    version
        .schema
        .as_mut()
        .and_then(|schema| schema.open_api_v3_schema.as_mut())
        .ok_or(CrdError::Shape("ServiceGroup", "schema"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_definitions_are_up_to_date() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/base/crds");
        for (name, yaml) in files().unwrap() {
            let committed = fs::read_to_string(directory.join(name)).unwrap_or_default();
            assert!(committed == yaml, "manifests/base/crds/{name} is stale: run `make crds` and commit the result");
        }
    }

    /// The words that YAML 1.1 reads as booleans (yaml.org/type/bool.html), in lower case.
    const BOOLEANS: [&str; 8] = ["y", "yes", "n", "no", "true", "false", "on", "off"];

    #[test]
    fn no_text_is_a_boolean_of_yaml_1_1() {
        for (name, yaml) in files().unwrap() {
            let mut in_enum = false;
            for line in yaml.lines() {
                let text = line.trim_start();
                let item = text.strip_prefix("- ").filter(|_| in_enum);
                in_enum = text == "enum:" || item.is_some();
                assert!(item.is_none_or(|item| item.starts_with('"')), "{name}: {line} is not quoted");
                let default = text.strip_prefix("default: ").filter(|value| !["true", "false"].contains(value));
                let word = default.unwrap_or_default().to_lowercase();
                assert!(!BOOLEANS.contains(&word.as_str()), "{name}: {line} is a boolean for YAML 1.1");
            }
        }
    }

    #[test]
    fn quoting_changes_nothing_but_the_text() {
        for definition in [service_group().unwrap(), lb_node_agent().unwrap()] {
            let value = serde_json::to_value(definition).unwrap();
            let yaml = quote_enums(&serde_yaml_ng::to_string(&value).unwrap());
            assert_eq!(serde_yaml_ng::from_str::<serde_json::Value>(&yaml).unwrap(), value);
        }
    }

    #[test]
    fn both_versions_are_served_and_v2_is_stored() {
        for definition in [service_group().unwrap(), lb_node_agent().unwrap()] {
            let versions: Vec<_> =
                definition.spec.versions.iter().map(|v| (v.name.as_str(), v.served, v.storage)).collect();
            assert_eq!(versions, [("v2", true, true), ("v1", true, false)]);
        }
    }
}
