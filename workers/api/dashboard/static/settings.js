// How the reader wants numbers and times: chosen in the dialog, remembered by this browser, told by "formatchange".
//
// What is remembered may be of an older page, or anybody's: whatever is not on the lists is as if nothing were chosen.

const KEY = "format";

// Number formats by an example of each; a locale gives the marks.
export const NUMBERS = {
  "1,234.56": { locale: "en-US", grouped: true },
  "1.234,56": { locale: "de-DE", grouped: true },
  "1 234,56": { locale: "fr-FR", grouped: true },
  "1’234.56": { locale: "de-CH", grouped: true },
  "1234.56": { locale: "en-US", grouped: false },
};
const USUAL = "1,234.56";

export const ownZone = Intl.DateTimeFormat().resolvedOptions().timeZone ?? "UTC";
export const zones = () => ["UTC", ...Intl.supportedValuesOf("timeZone").filter((name) => name !== "UTC")];

function isZone(name) {
  try {
    return typeof name === "string" && !!new Intl.DateTimeFormat("en", { timeZone: name });
  } catch {
    return false;
  }
}

function recall() {
  let kept = {};
  try {
    kept = JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch { /* nothing that can be read */ }
  const name = Object.hasOwn(NUMBERS, kept.numbers) ? kept.numbers : USUAL;
  return { zone: isZone(kept.zone) ? kept.zone : ownZone, name, numbers: NUMBERS[name] };
}

let now = recall();

// {zone, name, numbers: {locale, grouped}}
export const chosen = () => now;

export function choose(zone, numbers) {
  localStorage.setItem(KEY, JSON.stringify({ zone, numbers }));
  now = recall();
  dispatchEvent(new Event("formatchange"));
}
