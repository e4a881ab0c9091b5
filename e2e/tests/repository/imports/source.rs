//! One module's source, reduced to what it declares, what it imports and which paths it mentions.

use super::token::{Token, tokens};

/// What a module's source says.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// Names of the functions, types, constants and macros that the module defines itself.
    pub(crate) items: Vec<String>,
    /// One entry for each leaf of each `use` tree.
    pub(crate) uses: Vec<Use>,
    /// Paths in the code that have at least two parts.
    pub(crate) mentions: Vec<Mention>,
    /// Modules that are declared here.
    pub(crate) modules: Vec<Declared>,
}

/// A leaf of a `use` tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Use {
    /// The path, without a final `self` or `*`.
    pub(crate) path: Vec<String>,
    /// The name that the module gets by it; nothing for globs, for `as _`, and inside of functions.
    pub(crate) name: Option<String>,
    /// Whether it ends in `*`.
    pub(crate) glob: bool,
    /// Whether only tests see it.
    pub(crate) test: bool,
}

/// A path in the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mention {
    /// The path.
    pub(crate) path: Vec<String>,
    /// Whether only tests see it.
    pub(crate) test: bool,
}

/// A `mod` item.
#[derive(Debug)]
pub(crate) struct Declared {
    /// Its name.
    pub(crate) name: String,
    /// Whether only tests see it.
    pub(crate) test: bool,
    /// The value of `#[path]`.
    pub(crate) path: Option<String>,
    /// What stands between its braces; nothing if it has a file.
    pub(crate) body: Option<Source>,
}

impl Source {
    /// Reads the text of a file.
    pub(crate) fn new(text: &str) -> Self {
        let mut source = Self::default();
        source.read_items(&tokens(text));
        source
    }

    fn read_items(&mut self, tokens: &[Token]) {
        let mut rest = tokens;
        while !rest.is_empty() {
            let (attributes, after) = attributes(rest);
            let item = without_visibility(after);
            let words: Vec<&str> = item.iter().map_while(Token::word).collect();
            let length = match words.as_slice() {
                ["use", ..] => {
                    let length = up_to_semicolon(item);
                    self.read_use(item.get(1..length).unwrap_or_default(), attributes.test, true);
                    length
                }
                ["mod", name, ..] => {
                    let (body, length) = module_body(item);
                    let body = body.map(|tokens| {
                        let mut source = Self::default();
                        source.read_items(tokens);
                        source
                    });
                    let (name, test, path) = ((*name).to_owned(), attributes.test, attributes.path);
                    self.modules.push(Declared { name, test, path, body });
                    length
                }
                _ => {
                    self.items.extend(defined_name(item));
                    let length = item_length(item, &words);
                    self.read_code(item.get(..length).unwrap_or_default(), attributes.test);
                    length
                }
            };
            rest = item.get(length.max(1)..).unwrap_or_default();
        }
    }

    /// Paths and imports inside of items.
    fn read_code(&mut self, tokens: &[Token], test: bool) {
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let rest = tokens.get(at..).unwrap_or_default();
            if token.is('#') && rest.get(1).is_some_and(|next| next.is('[')) {
                let (attributes, after) = attributes(rest);
                at = tokens.len() - after.len();
                if attributes.test && !test {
                    let length = marked_length(after);
                    self.read_code(after.get(..length).unwrap_or_default(), true);
                    at += length;
                }
                continue;
            }
            let Some(word) = token.word() else {
                at += 1;
                continue;
            };
            // `use<'a>` among bounds is no import.
            if word == "use" && rest.get(1).is_some_and(|next| !next.is('<')) {
                let length = up_to_semicolon(rest);
                self.read_use(rest.get(1..length).unwrap_or_default(), test, false);
                at += length;
                continue;
            }
            let path = path(rest);
            let before = at.checked_sub(1).and_then(|before| tokens.get(before));
            let starts = !before.is_some_and(|before| *before == Token::Separator || before.is('.'));
            // `pub(in path)` says who may see something.
            let restricts = before.and_then(Token::word) == Some("in")
                && at.checked_sub(2).and_then(|before| tokens.get(before)).is_some_and(|before| before.is('('));
            at += 2 * path.len() - 1;
            if path.len() > 1 && starts && !restricts {
                self.mentions.push(Mention { path, test });
            }
        }
    }

    /// The leaves of one `use` tree, given without `use` and `;`.
    fn read_use(&mut self, tree: &[Token], test: bool, binds: bool) {
        // `::name` is another crate.
        if tree.first() != Some(&Token::Separator) {
            let mut leaves = Vec::new();
            use_leaves(tree, &[], &mut leaves);
            self.uses.extend(leaves.into_iter().map(|leaf| Use { test, name: leaf.name.filter(|_| binds), ..leaf }));
        }
    }
}

fn use_leaves(tree: &[Token], before: &[String], leaves: &mut Vec<Use>) {
    let mut full = before.to_vec();
    let own = path(tree);
    full.extend(own.iter().filter(|part| *part != "self" || before.is_empty()).cloned());
    let after = tree.get((2 * own.len()).saturating_sub(1)..).unwrap_or_default();
    let after = if after.first() == Some(&Token::Separator) { after.get(1..).unwrap_or_default() } else { after };
    match after.first() {
        Some(Token::Sign('{')) => {
            let inside = after.get(1..after.len().saturating_sub(1)).unwrap_or_default();
            for branch in split_at_commas(inside) {
                use_leaves(branch, &full, leaves);
            }
        }
        Some(Token::Sign('*')) => leaves.push(Use { path: full, name: None, glob: true, test: false }),
        _ => {
            let renamed = after.iter().rev().find_map(Token::word);
            let name = renamed.or(full.last().map(String::as_str)).filter(|name| *name != "_").map(str::to_owned);
            leaves.push(Use { path: full, name, glob: false, test: false });
        }
    }
}

/// What the attributes at the beginning say, and what follows them.
#[derive(Default)]
struct Attributes {
    test: bool,
    path: Option<String>,
}

fn attributes(tokens: &[Token]) -> (Attributes, &[Token]) {
    let (mut found, mut rest) = (Attributes::default(), tokens);
    while rest.first().is_some_and(|token| token.is('#')) {
        let bracket = if rest.get(1).is_some_and(|token| token.is('!')) { 2 } else { 1 };
        let length = bracket + group_length(rest.get(bracket..).unwrap_or_default());
        let attribute = rest.get(bracket + 1..length).unwrap_or_default();
        let has = |word: &str| attribute.iter().any(|token| token.word() == Some(word));
        let first = attribute.first().and_then(Token::word);
        found.test |= first == Some("cfg") && has("test") && !has("not");
        if let (Some("path"), Some(Token::Text(path))) = (first, attribute.get(2)) {
            found.path = Some(path.clone());
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    (found, rest)
}

fn without_visibility(tokens: &[Token]) -> &[Token] {
    if tokens.first().and_then(Token::word) != Some("pub") {
        return tokens;
    }
    let after = tokens.get(1..).unwrap_or_default();
    let restriction = if after.first().is_some_and(|token| token.is('(')) { group_length(after) } else { 0 };
    after.get(restriction..).unwrap_or_default()
}

/// The longest path at the beginning.
fn path(tokens: &[Token]) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = tokens;
    while let Some(word) = rest.first().and_then(Token::word) {
        parts.push(word.to_owned());
        match rest {
            [_, Token::Separator, Token::Word(_), ..] => rest = rest.get(2..).unwrap_or_default(),
            _ => break,
        }
    }
    parts
}

/// The name that an item gives to something in its module.
fn defined_name(item: &[Token]) -> Option<String> {
    const DEFINING: [&str; 8] = ["fn", "struct", "enum", "union", "trait", "type", "const", "static"];
    let words: Vec<&str> = item.iter().take_while(|token| !token.is('{')).filter_map(Token::word).collect();
    if let ["macro_rules", ..] = words.as_slice() {
        return words.get(1).map(|name| (*name).to_owned());
    }
    // `const fn`, `unsafe trait`, `extern "C" fn`: the last of these words at the beginning names the kind.
    let kind = words.iter().take(4).rposition(|word| DEFINING.contains(word));
    let leading = |at: &usize| {
        words
            .iter()
            .take(*at)
            .all(|word| DEFINING.contains(word) || ["async", "unsafe", "extern", "safe"].contains(word))
    };
    let name = words.get(kind.filter(leading)? + 1)?;
    Some((*name).to_owned())
}

/// How many tokens an attribute inside of an item is about: an item, a statement, a field, an argument.
fn marked_length(tokens: &[Token]) -> usize {
    const ITEMS: [&str; 10] = ["fn", "struct", "enum", "union", "trait", "type", "const", "static", "impl", "async"];
    let words: Vec<&str> = without_visibility(tokens).iter().map_while(Token::word).collect();
    let length = item_length(tokens, &words);
    if words.first().is_some_and(|word| ITEMS.contains(word)) {
        return length;
    }
    let part = split_at_commas(tokens.get(..length).unwrap_or_default());
    part.first().map_or(length, |part| part.len().max(1))
}

/// How many tokens an item has: up to the end of its body, or up to `;`.
fn item_length(item: &[Token], words: &[&str]) -> usize {
    let value = match words {
        ["const", "fn" | "unsafe" | "async" | "extern", ..] => false,
        ["const" | "static" | "type" | "use" | "let", ..] => true,
        _ => false,
    };
    let mut at = 0;
    while let Some(token) = item.get(at) {
        match token {
            Token::Sign('{' | '(' | '[') => {
                at += group_length(item.get(at..).unwrap_or_default());
                if token.is('{') && !value {
                    return at;
                }
            }
            Token::Sign(';') => return at + 1,
            Token::Sign('}' | ')' | ']') => return at,
            _ => at += 1,
        }
    }
    at
}

/// How many tokens the bracketed group at the beginning has, brackets included.
fn group_length(tokens: &[Token]) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Sign('{' | '(' | '[') => depth += 1,
            Token::Sign('}' | ')' | ']') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

fn up_to_semicolon(tokens: &[Token]) -> usize {
    tokens.iter().position(|token| token.is(';')).unwrap_or(tokens.len())
}

/// What stands between the braces of a module, if it has any, and the length of the item.
fn module_body(item: &[Token]) -> (Option<&[Token]>, usize) {
    if item.get(2).is_some_and(|token| token.is('{')) {
        let length = 2 + group_length(item.get(2..).unwrap_or_default());
        (item.get(3..length.saturating_sub(1)), length)
    } else {
        (None, up_to_semicolon(item))
    }
}

fn split_at_commas(tokens: &[Token]) -> Vec<&[Token]> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0);
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Sign('{' | '(' | '[') => depth += 1,
            Token::Sign('}' | ')' | ']') => depth -= 1,
            Token::Sign(',') if depth == 0 => {
                parts.push(tokens.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(tokens.get(start..).unwrap_or_default());
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(source: &str) -> Vec<String> {
        let text = |leaf: &Use| {
            let name = if leaf.glob { "*" } else { leaf.name.as_deref().unwrap_or("_") };
            format!("{} {name}{}", leaf.path.join("::"), if leaf.test { " test" } else { "" })
        };
        Source::new(source).uses.iter().map(text).collect()
    }

    #[test]
    fn use_trees_have_leaves() {
        let source = "pub(crate) use crate::a::{self, b::{C, D as E}, f::*}; use super::g as _; use ::other::H;
            #[cfg(test)] use self::i;";
        let expected =
            ["crate::a a", "crate::a::b::C C", "crate::a::b::D E", "crate::a::f *", "super::g _", "self::i i test"];
        assert_eq!(leaves(source), expected);
    }

    #[test]
    fn items_are_named_and_modules_have_bodies() {
        let source = Source::new(
            "pub const fn a() -> [u8; 2] { [0; 2] } const B: C = C { d: 1 }; pub struct E(u8); impl E { fn f() {} }
             macro_rules! g { () => {} } mod h { use crate::i; } #[cfg(all(test, unix))] #[path = \"k.rs\"] mod j;",
        );
        assert_eq!(source.items, ["a", "B", "E", "g"]);
        let modules: Vec<_> =
            source.modules.iter().map(|m| (m.name.as_str(), m.test, m.path.as_deref(), m.body.is_some())).collect();
        assert_eq!(modules, [("h", false, None, true), ("j", true, Some("k.rs"), false)]);
    }

    #[test]
    fn paths_in_code_are_found_and_those_of_tests_marked() {
        let source = Source::new(
            "fn a(b: crate::c::D) -> impl Sized + use<'_> { <E as super::f::G>::h(); ::i::j(); k.l::<m::N>(); }
             #[cfg(test)] fn o() { self::p::q() }
             pub(in crate::r::s) struct T { #[cfg(test)] u: self::v::W, x: self::y::Z }",
        );
        let mentions: Vec<_> = source.mentions.iter().map(|m| (m.path.join("::"), m.test)).collect();
        let expected = [
            ("crate::c::D", false),
            ("super::f::G", false),
            ("m::N", false),
            ("self::p::q", true),
            ("self::v::W", true),
            ("self::y::Z", false),
        ];
        assert_eq!(mentions, expected.map(|(path, test)| (path.to_owned(), test)));
    }
}
