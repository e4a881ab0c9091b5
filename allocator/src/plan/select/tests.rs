//! Tests of the selection of groups.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::model::tests::{object, table};

fn group(name: &str, number: u8, extra: &Value) -> crate::model::GroupObject {
    let mut spec = json!({"local": {"v4pool": {"pool": format!("10.{number}.0.0/24"), "subnet": "10.0.0.0/8"}}});
    for (key, value) in extra.as_object().unwrap() {
        spec[key] = value.clone();
    }
    object("purelb", name, spec)
}

fn chosen(groups: &[(&str, Value)], namespace: &str, annotation: Option<&str>) -> Result<String, String> {
    let objects = groups.iter().enumerate().map(|(n, (name, extra))| group(name, u8::try_from(n).unwrap(), extra));
    let table = table(objects.collect());
    let bindings = NamespaceBindings::new(&table);
    select_groups(&table, &bindings, namespace, annotation)
        .map(|selection| selection.names())
        .map_err(|denied| denied.to_string())
}

#[test]
fn the_annotation_then_the_namespace_then_default() {
    let groups = [("default", json!({})), ("team", json!({"namespaces": ["a", "a"]})), ("x", json!({}))];
    assert_eq!(chosen(&groups, "a", Some("x")).unwrap(), "\"x\"");
    assert_eq!(chosen(&groups, "a", None).unwrap(), "\"team\"");
    assert_eq!(chosen(&groups, "b", None).unwrap(), "\"default\"");
    assert_eq!(chosen(&groups, "b", Some("team")).unwrap(), "\"team\"");
    assert_eq!(chosen(&groups, "b", Some("x, team,")).unwrap(), "\"x\", \"team\"");
}

#[rstest]
#[case(Some("nope"), "unknown pool \"nope\"")]
#[case(Some(""), "unknown pool \"\"")]
#[case(Some("x,nope"), "unknown pool \"nope\"")]
#[case(None, "unknown pool \"default\"")]
fn unknown_names(#[case] annotation: Option<&str>, #[case] text: &str) {
    assert!(chosen(&[("x", json!({}))], "a", annotation).unwrap_err().starts_with(text));
}

#[test]
fn enforcement_confines_namespace_and_groups() {
    let groups = [
        ("default", json!({})),
        ("team", json!({"namespaces": ["a"], "enforceNamespaces": true})),
        ("second", json!({"namespaces": ["a", "c"], "namespaceDefault": true})),
    ];
    assert_eq!(chosen(&groups, "a", None).unwrap(), "\"second\"");
    assert!(chosen(&groups, "a", Some("default")).unwrap_err().contains("namespace denied"));
    assert!(chosen(&groups, "b", Some("team")).unwrap_err().contains("namespace denied"));
    // Confined although it does not enforce itself.
    assert!(chosen(&groups, "b", Some("second")).unwrap_err().contains("namespace denied"));
    assert_eq!(chosen(&groups, "c", None).unwrap(), "\"second\"");
    assert_eq!(chosen(&groups, "b", None).unwrap(), "\"default\"");
}

#[test]
fn ambiguous_defaults() {
    let two = |default: bool, enforce: bool| {
        let spec = json!({"namespaces": ["a"], "namespaceDefault": default, "enforceNamespaces": enforce});
        [("default", json!({})), ("one", spec.clone()), ("two", spec)]
    };
    let error = chosen(&two(false, true), "a", None).unwrap_err();
    assert!(error.contains("ambiguous namespace default") && error.contains("none sets namespaceDefault"), "{error}");
    assert!(chosen(&two(true, true), "a", None).unwrap_err().contains("all set namespaceDefault"));
    assert_eq!(chosen(&two(true, false), "a", None).unwrap(), "\"default\"");
}
