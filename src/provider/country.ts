/** Names that differ from those of the standard, as markets write them. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  usa: 'US',
  'united states of america': 'US',
  america: 'US',
  uk: 'GB',
  'great britain': 'GB',
  england: 'GB',
  scotland: 'GB',
  'south korea': 'KR',
  korea: 'KR',
  'republic of korea': 'KR',
  'czech republic': 'CZ',
  turkey: 'TR',
  'the netherlands': 'NL',
  holland: 'NL',
  'viet nam': 'VN',
  'russian federation': 'RU',
  macedonia: 'MK',
  uae: 'AE',
  'hong kong': 'HK',
  macau: 'MO',
};

/** The country of a location, ISO 3166-1 in two letters: of `Utah, US`, `, CN`, `Orlando, Florida, United States`; undefined when it names none. */
export function countryOf(location: string): string | undefined {
  const last = location.slice(location.lastIndexOf(',') + 1).trim();
  return isCountryCode(last) ? last.toUpperCase() : codes().get(last.toLowerCase());
}

/** Whether two letters are a country; `UK` is none, and means one all the same. */
export function isCountryCode(text: string): boolean {
  return /^[a-z]{2}$/i.test(text) && codes().get(text.toLowerCase()) === text.toUpperCase();
}

/** Countries by their names and their codes, lower case; made when it is first needed. */
let known: ReadonlyMap<string, string> | undefined;

function codes(): ReadonlyMap<string, string> {
  known ??= readCodes();
  return known;
}

/** What the runtime knows of regions: a code that it has no name for is none. */
function readCodes(): ReadonlyMap<string, string> {
  const names = new Intl.DisplayNames(['en'], { type: 'region', fallback: 'none' });
  const letters = Array.from({ length: 26 }, (_, at) => String.fromCharCode(65 + at));
  const found = new Map<string, string>();
  for (const first of letters) {
    for (const second of letters) {
      const code = `${first}${second}`;
      const name = NO_COUNTRY.has(code) ? undefined : names.of(code);
      if (name === undefined) continue;
      found.set(code.toLowerCase(), code);
      found.set(name.toLowerCase(), code);
    }
  }
  for (const [name, code] of Object.entries(OTHER_NAMES)) found.set(name, code);
  return found;
}

/** Codes of unions, of former states and of nowhere, which have names as well. */
const NO_COUNTRY = new Set([
  'EU',
  'EZ',
  'UN',
  'ZZ',
  'XA',
  'XB',
  'QO',
  'UK',
  'SU',
  'DD',
  'YU',
  'CS',
  'AN',
  'BU',
  'FX',
  'NT',
  'TP',
  'YD',
  'ZR',
]);
