//! Texts and paths that the tests share.

use std::path::PathBuf;

use tokenizers::Tokenizer;

/// Of many kinds and lengths, written for these tests.
pub(crate) const TEXTS: [&str; 20] = [
    "How do I bake a sourdough bread with a crisp crust at home?",
    "Write a Python function that merges two sorted lists without using the built-in sort, and explain \
     its complexity in big-O notation.",
    "Solve for x: 3x^2 - 7x + 2 = 0. Show every step, then check both roots by substituting them into the \
     equation.",
    "ok",
    "What does this clause mean? \"The Licensee shall indemnify and hold harmless the Licensor from any \
     claim arising out of the use of the Software, except where such claim results from gross \
     negligence.\"",
    "Translate into French: The library opens at nine, but the reading room is closed on Mondays until \
     the end of the renovation.",
    "SELECT customer_id, SUM(amount) FROM orders WHERE created_at >= '2024-01-01' GROUP BY customer_id \
     HAVING SUM(amount) > 1000 ORDER BY 2 DESC; Why is this slow on a table of forty million rows, and \
     which index would help?",
    "Explain quantum entanglement to a ten-year-old.",
    "A train leaves Lyon at 8:15 and travels at 140 km/h; another leaves Paris, 465 km away, at 8:45 at \
     160 km/h towards it. When and where do they meet? Answer with a time and a distance from Lyon.",
    "Summarise the plot of Hamlet in three sentences, and then name the character who, in your view, is \
     the most to blame for the tragedy. Give a reason from the text. Afterwards compare this figure with \
     a similar one from Greek tragedy, and say how a modern audience would judge both. Mention at least \
     one film version, and keep the tone neutral, as in an encyclopaedia. The summary should avoid \
     quotations that are longer than five words, and should not speak of the author's life. If a scene is \
     disputed between the folio and the quartos, say which one you follow and why you do so.",
    "Wie kann ich meinen Router so einstellen, dass er nachts kein WLAN sendet?",
    "{\"name\": \"invoice\", \"fields\": [\"id\", \"date\", \"total\"], \"strict\": true}",
    "Tell me a joke about programmers.",
    "My dog has been limping since yesterday evening, but he eats and plays as usual. Should I see a vet \
     today or can it wait until Monday?",
    "fn main() { let v: Vec<u32> = (1..=10).filter(|n| n % 2 == 0).map(|n| n * n).collect(); \
     println!(\"{v:?}\"); }",
    "Which of the following is a noble gas? (A) Nitrogen (B) Argon (C) Chlorine (D) Hydrogen",
    "Draft a polite e-mail to my landlord: the heating in the bedroom has been broken for two weeks, I \
     called twice, nothing happened. I would like it mended before Friday, or a reduction of the rent.",
    "你好，请帮我写一首关于秋天的诗。",
    "Compare the economic policies of Keynes and Hayek with regard to unemployment during a recession.",
    "Prove that the square root of two is irrational.",
];

pub(crate) fn model_path() -> PathBuf {
    encoders().join("dense/model.bin")
}

/// WordPieces of each of [`TEXTS`].
pub(crate) fn tokenized() -> Vec<Vec<u32>> {
    let tokenizer = Tokenizer::from_file(encoders().join("fast/tokenizer.json")).unwrap();
    let tokenize = |text: &str| tokenizer.encode_fast(text, false).unwrap().get_ids().to_vec();
    TEXTS.map(tokenize).to_vec()
}

fn encoders() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../checkpoints/encoders")
}
