import { rawHttp } from './raw-http.ts';

/** One scrape of a server's metrics, and its samples: those of a name, and the sum of those that have all of some labels. */
export async function scrape(adminUrl: string) {
  const { status, headers, text } = await rawHttp(adminUrl).get('/metrics');
  const samples = [...text.matchAll(/^([a-z_]+)(?:\{(.*)\})? (\S+)$/gm)].map(([, name, labels = '', value]) => ({
    name,
    labels: Object.fromEntries([...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, label, content]) => [label, content])),
    value: Number(value),
  }));
  const of = (name: string) => samples.filter((sample) => sample.name === name);
  return {
    status,
    headers,
    text,
    of,
    sum: (name: string, labels: Readonly<Record<string, string>> = {}) =>
      of(name)
        .filter((sample) => Object.entries(labels).every(([label, content]) => sample.labels[label] === content))
        .reduce((sum, { value }) => sum + value, 0),
  };
}
