//! From words to an expression.

use super::expression::{Comparison, Expression, MAX_DEPTH, SelectorError};
use super::tokens::Tokens;

pub(super) fn parse(text: &str) -> Result<Expression, SelectorError> {
    let mut tokens = Tokens::new(text);
    if tokens.is_end() {
        return Ok(Expression::All);
    }
    let expression = or(&mut tokens, 0)?;
    if tokens.is_end() { Ok(expression) } else { tokens.expected("&&, || or the end") }
}

fn or(tokens: &mut Tokens<'_>, depth: usize) -> Result<Expression, SelectorError> {
    let first = and(tokens, depth)?;
    let mut all = vec![first];
    while tokens.take(&["||"]) {
        all.push(and(tokens, depth)?);
    }
    Ok(one_or(all, Expression::Or))
}

fn and(tokens: &mut Tokens<'_>, depth: usize) -> Result<Expression, SelectorError> {
    let first = operation(tokens, depth)?;
    let mut all = vec![first];
    while tokens.take(&["&&"]) {
        all.push(operation(tokens, depth)?);
    }
    Ok(one_or(all, Expression::And))
}

fn one_or(mut all: Vec<Expression>, many: fn(Vec<Expression>) -> Expression) -> Expression {
    match (all.pop(), all.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            all.extend(last);
            many(all)
        }
    }
}

fn operation(tokens: &mut Tokens<'_>, depth: usize) -> Result<Expression, SelectorError> {
    let mut negated = false;
    while tokens.take(&["!"]) {
        negated = !negated;
    }
    let positive = if tokens.take(&["("]) {
        if depth >= MAX_DEPTH {
            return Err(SelectorError::Deep);
        }
        let inner = or(tokens, depth + 1)?;
        if !tokens.take(&[")"]) {
            return tokens.expected("&&, || or a closing parenthesis");
        }
        inner
    } else if tokens.take(&["all(", ")"]) {
        Expression::All
    } else if tokens.take(&["global(", ")"]) {
        Expression::Global
    } else if tokens.take(&["has("]) {
        let Some(label) = tokens.label() else { return tokens.expected("the name of a label") };
        if !tokens.take(&[")"]) {
            return tokens.expected("a closing parenthesis");
        }
        Expression::Has(label.to_owned())
    } else {
        let Some(label) = tokens.label() else {
            return tokens.expected("all(), has(label), the name of a label, ! or a parenthesis");
        };
        Expression::Compare(label.to_owned(), comparison(tokens)?)
    };
    Ok(if negated { Expression::Not(Box::new(positive)) } else { positive })
}

/// Makes a comparison with a string.
type Make = fn(String) -> Comparison;

fn comparison(tokens: &mut Tokens<'_>) -> Result<Comparison, SelectorError> {
    // No word is the beginning of another one.
    let with_string: [(&[&str], Make); 5] = [
        (&["=="], Comparison::Equal),
        (&["!="], Comparison::NotEqual),
        (&["contains"], Comparison::Contains),
        (&["starts", "with"], Comparison::StartsWith),
        (&["ends", "with"], Comparison::EndsWith),
    ];
    for (words, make) in with_string {
        if tokens.take(words) {
            let Some(value) = tokens.string()? else { return tokens.expected("a string in quotes") };
            return Ok(make(value.to_owned()));
        }
    }
    if tokens.take(&["in"]) {
        Ok(Comparison::In(set(tokens)?))
    } else if tokens.take(&["not", "in"]) {
        Ok(Comparison::NotIn(set(tokens)?))
    } else {
        tokens.expected("==, !=, in, not in, contains, starts with or ends with")
    }
}

fn set(tokens: &mut Tokens<'_>) -> Result<Vec<String>, SelectorError> {
    if !tokens.take(&["{"]) {
        return tokens.expected("a list in braces");
    }
    let mut values = Vec::new();
    while let Some(value) = tokens.string()? {
        values.push(value.to_owned());
        if !tokens.take(&[","]) {
            break;
        }
    }
    if tokens.take(&["}"]) { Ok(values) } else { tokens.expected("a string, a comma or a closing brace") }
}
