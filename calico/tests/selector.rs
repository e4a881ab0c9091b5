//! Calico's selector language: tables, and expressions made at random.

use calico::selector::{MAX_DEPTH, MAX_LENGTH};
use calico::{Labels, Selector};
use proptest::prelude::*;
use rstest::rstest;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn node() -> Labels {
    labels(&[("rack", "a1"), ("kubernetes.io/os", "linux"), ("edge", ""), ("in", "x"), ("all", "y"), ("0", "z")])
}

#[rstest]
#[case("", true)]
#[case(" \t", true)]
#[case("all()", true)]
#[case("all( )", true)]
#[case("!all()", false)]
#[case("! !all()", true)]
#[case("global()", true)]
#[case("has(rack)", true)]
#[case("has( rack )", true)]
#[case("has(edge)", true)]
#[case("has(row)", false)]
#[case("!has(row)", true)]
#[case("has(kubernetes.io/os)", true)]
#[case("rack == 'a1'", true)]
#[case("rack==\"a1\"", true)]
#[case("rack == 'A1'", false)]
#[case("edge == ''", true)]
#[case("row == ''", false)]
#[case("rack != 'a1'", false)]
#[case("row != 'a1'", true)]
#[case("rack in {'a1', 'b1'}", true)]
#[case("rack in{'b1','a1',}", true)]
#[case("rack in {}", false)]
#[case("row in {'a1'}", false)]
#[case("rack not in {'a1'}", false)]
#[case("rack notin {'b1'}", true)]
#[case("row not  in {'a1'}", true)]
#[case("rack contains '1'", true)]
#[case("row contains ''", false)]
#[case("rack starts with 'a'", true)]
#[case("rack startswith 'b'", false)]
#[case("rack ends with '1'", true)]
#[case("rack ends with 'a'", false)]
#[case("in in {'x'}", true)]
#[case("all == 'y'", true)]
#[case("0 == 'z'", true)]
#[case("rack == 'a1' && has(row)", false)]
#[case("rack == 'a1' || has(row)", true)]
#[case("has(row) && has(row) || has(rack)", true)]
#[case("has(rack) || has(row) && has(row)", true)]
#[case("(has(rack) || has(row)) && has(row)", false)]
#[case("!(has(rack) && has(row))", true)]
#[case("!has(rack) || has(rack)", true)]
#[case("rack == 'a1'\n  && has(edge)\n", true)]
fn holds(#[case] text: &str, #[case] expected: bool) {
    assert_eq!(Selector::new(text).unwrap().selects(&node()), expected, "{text}");
}

#[rstest]
#[case("rack", "expected ==, !=, in, not in, contains, starts with or ends with at 4")]
#[case("rack = 'a'", "expected ==, !=, in, not in, contains, starts with or ends with at 5")]
#[case("rack == a", "expected a string in quotes at 8")]
#[case("rack == 'a", "the string that begins at 8 has no closing quote")]
#[case("rack == 'a' has(b)", "expected &&, || or the end at 12")]
#[case("rack == 'a' & has(b)", "expected &&, || or the end at 12")]
#[case("rack in 'a'", "expected a list in braces at 8")]
#[case("rack in {'a' 'b'}", "expected a string, a comma or a closing brace at 13")]
#[case("rack in {'a'", "expected a string, a comma or a closing brace at 12")]
#[case("has()", "expected the name of a label at 4")]
#[case("has(a", "expected a closing parenthesis at 5")]
#[case("(has(a)", "expected &&, || or a closing parenthesis at 7")]
#[case("!", "expected all(), has(label), the name of a label, ! or a parenthesis at 1")]
#[case("has(a) &&", "expected all(), has(label), the name of a label, ! or a parenthesis at 9")]
#[case("ä == 'a'", "expected all(), has(label), the name of a label, ! or a parenthesis at 0")]
#[case("all(", "expected ==, !=, in, not in, contains, starts with or ends with at 3")]
fn says_what_is_wrong(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(Selector::new(text).unwrap_err().to_string(), expected, "{text}");
}

#[test]
fn length_and_depth_have_limits() {
    let nested = |depth: usize| format!("{}all(){}", "(".repeat(depth), ")".repeat(depth));
    assert!(Selector::new(&nested(MAX_DEPTH)).is_ok());
    assert!(Selector::new(&nested(MAX_DEPTH + 1)).is_err());
    assert!(Selector::new(&format!("{}all()", "!".repeat(MAX_LENGTH - 5))).is_ok());
    assert!(Selector::new(&" ".repeat(MAX_LENGTH + 1)).is_err());
}

/// An expression as text, and whether it holds for [`node`].
fn expression() -> impl Strategy<Value = (String, bool)> {
    let label = prop::sample::select(vec!["rack", "edge", "row", "kubernetes.io/os"]);
    let value = prop::sample::select(vec!["a1", "a", "1", "", "linux", "ä"]);
    let comparison = (label, prop::collection::vec(value, 1..3), 0..8_u8).prop_map(|(label, values, kind)| {
        let node = node();
        let Some(text) = values.first().copied() else { unreachable!("a comparison has a value") };
        let found = node.get(label);
        let set: Vec<String> = values.iter().map(|value| format!("'{value}'")).collect();
        let set = set.join(", ");
        match kind {
            0 => (format!("{label} == '{text}'"), found.is_some_and(|found| found == text)),
            1 => (format!("{label} != \"{text}\""), found.is_none_or(|found| found != text)),
            2 => (format!("{label} contains '{text}'"), found.is_some_and(|found| found.contains(text))),
            3 => (format!("{label} starts with '{text}'"), found.is_some_and(|found| found.starts_with(text))),
            4 => (format!("{label} ends with '{text}'"), found.is_some_and(|found| found.ends_with(text))),
            5 => (format!("{label} in {{{set}}}"), found.is_some_and(|found| values.contains(&found.as_str()))),
            6 => (format!("{label} not in {{{set}}}"), found.is_none_or(|found| !values.contains(&found.as_str()))),
            _ => (format!("has({label})"), found.is_some()),
        }
    });
    comparison.prop_recursive(5, 40, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|(text, holds)| (format!("!({text})"), !holds)),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| (format!("({}) && ({})", a.0, b.0), a.1 && b.1)),
            (inner.clone(), inner).prop_map(|(a, b)| (format!("({} || {})", a.0, b.0), a.1 || b.1)),
        ]
    })
}

proptest! {
    #[test]
    fn expressions_mean_what_they_are_made_of((text, holds) in expression()) {
        prop_assert_eq!(Selector::new(&text).unwrap().selects(&node()), holds);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "([a-z(){}!=&|,' ä]|has\\(|all\\(\\)|in |not |'a'){0,40}") {
        let _ = Selector::new(&text).map(|selector| selector.selects(&node()));
    }
}
