// Figures as text. What is absent is a dash.

export const ABSENT = "–";

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const signed = (value, text) => (value < 0 ? `−${text}` : text);
const grouped = (value, digits) =>
  value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });

export function count(value) {
  return isNumber(value) ? grouped(value, 0) : ABSENT;
}

export function counted(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

// US dollars, of thousands and of millionths alike.
export function usd(value) {
  if (!isNumber(value)) return ABSENT;
  const size = Math.abs(value);
  if (size === 0) return "$0";
  if (size >= 1000) return signed(value, `$${grouped(size, 0)}`);
  if (size >= 1) return signed(value, `$${grouped(size, 2)}`);
  if (size < 1e-9) return signed(value, "$0.000000001");
  const digits = Math.min(10, 2 - Math.floor(Math.log10(size)));
  return signed(value, `$${grouped(size, digits).replace(/(\.\d\d+?)0+$/, "$1")}`);
}

export function quality(value) {
  return isNumber(value) ? signed(Math.round(value * 100), Math.abs(value).toFixed(2)) : ABSENT;
}

// A difference of qualities, with its sign.
export function difference(value) {
  return isNumber(value) && value > 0 ? `+${quality(value)}` : quality(value);
}

export function share(value) {
  return isNumber(value) ? signed(value, `${grouped(Math.abs(value) * 100, 1)} %`) : ABSENT;
}

export function ms(value) {
  if (!isNumber(value)) return ABSENT;
  if (value >= 10_000) return `${grouped(value / 1000, 0)} s`;
  if (value >= 1000) return `${grouped(value / 1000, 1)} s`;
  return `${grouped(value, value >= 10 ? 0 : 2)} ms`;
}

// `[low, high]`, or nothing.
export function interval(bounds, format) {
  return bounds ? `[${format(bounds.low)}, ${format(bounds.high)}]` : "";
}

// A figure with its interval behind it.
export function within(value, bounds, format) {
  return bounds ? `${format(value)} ${interval(bounds, format)}` : format(value);
}

const TIME = { hour: "2-digit", minute: "2-digit", hour12: false };
const DAY = { day: "numeric", month: "short" };

export function clock(time_ms) {
  return new Date(time_ms).toLocaleTimeString("en-GB", { ...TIME, second: "2-digit" });
}

// A time on the axis of a series with buckets of that width.
export function bucketTime(time_ms, bucket_ms) {
  return new Date(time_ms).toLocaleString("en-GB", bucket_ms < 86_400_000 ? TIME : DAY);
}

export function moment(time_ms) {
  return isNumber(time_ms) ? new Date(time_ms).toLocaleString("en-GB", { ...DAY, ...TIME }) : ABSENT;
}

const UNITS = { 60_000: "minute", 3_600_000: "hour", 86_400_000: "day" };

// The width of a bucket.
export const unit = (span_ms) => UNITS[span_ms] ?? duration(span_ms);

export function duration(span_ms) {
  const seconds = Math.round(span_ms / 1000);
  if (seconds < 100) return counted(seconds, "second");
  if (seconds < 6000) return counted(Math.round(seconds / 60), "minute");
  return seconds < 172_800 ? counted(Math.round(seconds / 3600), "hour") : counted(Math.round(seconds / 86_400), "day");
}
