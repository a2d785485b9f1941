/**
 * Reads CSV as RFC 4180 has it and nothing more lenient: every record ends with CRLF, quotes stand only around whole cells, and all
 * records have as many cells as the first.
 */
export function readCsv(text: string): string[][] {
  const records: string[][] = [];
  let record: string[] = [];
  let at = 0;

  function quoted(): string {
    let cell = '';
    for (at++; ;) {
      const quote = text.indexOf('"', at);
      if (quote < 0) throw new Error('a quoted cell does not end');
      cell += text.slice(at, quote);
      at = quote + 1;
      if (text[at] !== '"') return cell;
      cell += '"';
      at++;
    }
  }

  function plain(): string {
    const [cell = ''] = /^[^",\r\n]*/.exec(text.slice(at, at + 10_000)) ?? [];
    at += cell.length;
    return cell;
  }

  while (at < text.length) {
    record.push(text[at] === '"' ? quoted() : plain());
    if (text[at] === ',') {
      at++;
      if (at === text.length) throw new Error('the last record does not end');
      continue;
    }
    if (text.slice(at, at + 2) !== '\r\n') throw new Error(`neither a comma nor CRLF at ${at}`);
    at += 2;
    records.push(record);
    if (record.length !== records[0]?.length) throw new Error(`a record of ${record.length} cells`);
    record = [];
  }
  if (record.length > 0) throw new Error('the last record does not end');
  return records;
}
