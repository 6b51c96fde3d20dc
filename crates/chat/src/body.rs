//! An OpenAI chat-completions body as types. Fields we do not read are kept in `extra`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The body of `POST /v1/chat/completions`. Made by [`crate::parse`]; has a message of the user.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChatBody {
    /// Name of a model, or of a way to choose one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The conversation, oldest first.
    pub messages: Vec<Message>,
    /// Tools offered, as they came.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Value>,
    /// The older form of `tools`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<Value>,
    /// Form that the reply must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_format: Option<ResponseFormat>,
    /// Limit on the reply; the older name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// Limit on the reply, reasoning included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_completion_tokens: Option<u64>,
    /// Whether the reply comes as events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said; an assistant that only calls tools says nothing.
    pub content: Option<Content>,
    /// Everything else, calls of tools included.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Whoever runs the application.
    System,
    /// The newer name of `System`.
    Developer,
    /// The human.
    User,
    /// The model.
    Assistant,
    /// The result of a tool.
    Tool,
    /// The older name of `Tool`.
    Function,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Content {
    /// Text alone.
    Text(String),
    /// Text, images, files in order.
    Parts(Vec<Part>),
}

/// A piece of a message.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// `text`, `image_url`, `input_audio`, `file`, `refusal`, or one we do not know.
    #[serde(rename = "type")]
    pub kind: String,
    /// Of a part of the kind `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Form that the reply must have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ResponseFormat {
    /// `text`, `json_object` or `json_schema`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Everything else, the schema included.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}
