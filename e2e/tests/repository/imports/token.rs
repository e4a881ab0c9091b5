//! Rust source as the tokens that matter for imports: words, `::`, single characters, strings.

/// One token. Comments, numbers, lifetimes and character literals leave none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// An identifier or keyword; `r#` is dropped.
    Word(String),
    /// `::`
    Separator,
    /// Any other character.
    Sign(char),
    /// A string literal, without its quotes and with its escapes as written.
    Text(String),
}

impl Token {
    /// The identifier or keyword.
    pub(crate) fn word(&self) -> Option<&str> {
        if let Self::Word(word) = self { Some(word) } else { None }
    }

    /// Whether it is this character.
    pub(crate) fn is(&self, sign: char) -> bool {
        *self == Self::Sign(sign)
    }
}

/// The tokens of a source file.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let mut rest = Rest { characters: source.chars().collect(), at: 0 };
    let mut tokens = Vec::new();
    while let Some(character) = rest.peek(0) {
        match (character, rest.peek(1)) {
            ('/', Some('/')) => rest.skip_while(|character| character != '\n'),
            ('/', Some('*')) => rest.skip_block_comment(),
            ('"', _) => tokens.push(Token::Text(rest.string())),
            ('\'', _) => rest.skip_lifetime_or_character(),
            (':', Some(':')) => {
                rest.at += 2;
                tokens.push(Token::Separator);
            }
            _ if character.is_ascii_digit() => rest.skip_while(is_word),
            _ if is_word(character) => tokens.push(rest.word_or_string()),
            _ => {
                rest.at += 1;
                if !character.is_whitespace() {
                    tokens.push(Token::Sign(character));
                }
            }
        }
    }
    tokens
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// What is left of the source.
struct Rest {
    characters: Vec<char>,
    at: usize,
}

impl Rest {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.characters.get(self.at + ahead).copied()
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&wanted) {
            self.at += 1;
        }
    }

    /// Block comments nest.
    fn skip_block_comment(&mut self) {
        let mut depth = 0;
        while let Some(character) = self.peek(0) {
            match (character, self.peek(1)) {
                ('/', Some('*')) => (depth, self.at) = (depth + 1, self.at + 2),
                ('*', Some('/')) => (depth, self.at) = (depth - 1, self.at + 2),
                _ => self.at += 1,
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// `'a'`, `'\n'` and `'\''` are characters, `'a` is a lifetime.
    fn skip_lifetime_or_character(&mut self) {
        if self.peek(1) == Some('\\') {
            self.at += 3;
            self.skip_while(|character| character != '\'');
            self.at += 1;
        } else if self.peek(2) == Some('\'') {
            self.at += 3;
        } else {
            self.at += 1;
            self.skip_while(is_word);
        }
    }

    /// From the opening quote to behind the closing one.
    fn string(&mut self) -> String {
        self.at += 1;
        let start = self.at;
        while let Some(character) = self.peek(0).filter(|&character| character != '"') {
            self.at += if character == '\\' { 2 } else { 1 };
        }
        let text = self.between(start, self.at);
        self.at += 1;
        text
    }

    /// A word, or the string that it is the prefix of (`b""`, `c""`, `r#""#`, `br""`).
    fn word_or_string(&mut self) -> Token {
        let start = self.at;
        self.skip_while(is_word);
        let word = self.between(start, self.at);
        let hashes = self.characters.iter().skip(self.at).take_while(|character| **character == '#').count();
        let quoted = self.peek(hashes) == Some('"');
        match word.as_str() {
            "b" | "c" if hashes == 0 && quoted => Token::Text(self.string()),
            "r" | "br" | "cr" if quoted => Token::Text(self.raw_string(hashes)),
            "b" if self.peek(0) == Some('\'') => {
                self.skip_lifetime_or_character();
                Token::Text(String::new())
            }
            "r" if hashes == 1 => {
                self.at += 1;
                self.word_or_string()
            }
            _ => Token::Word(word),
        }
    }

    fn raw_string(&mut self, hashes: usize) -> String {
        self.at += hashes + 1;
        let start = self.at;
        while self.at < self.characters.len() {
            if self.peek(0) == Some('"') && (1..=hashes).all(|ahead| self.peek(ahead) == Some('#')) {
                break;
            }
            self.at += 1;
        }
        let text = self.between(start, self.at);
        self.at += hashes + 1;
        text
    }

    fn between(&self, start: usize, end: usize) -> String {
        self.characters.iter().take(end).skip(start).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<String> {
        tokens(source).iter().filter_map(|token| token.word().map(str::to_owned)).collect()
    }

    #[test]
    fn comments_strings_and_characters_hold_no_words() {
        let source = r##"
            // use a;
            /* use b; /* use c; */ use d; */
            let x = ("use e;\" f", r#"use "g";"#, b"use h", 'i', '\'', '"', b'j', 1.0e3);
            fn k<'life>() {}
        "##;
        assert_eq!(words(source), ["let", "x", "fn", "k"]);
    }

    #[test]
    fn paths_are_words_with_separators() {
        let expected = [Token::Word("crate".into()), Token::Separator, Token::Word("type".into()), Token::Sign(':')];
        assert_eq!(tokens("crate::r#type:"), expected);
    }
}
