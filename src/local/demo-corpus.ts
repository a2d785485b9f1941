import type { EmulatedAgent, Passage } from './bedrock/model.ts';

/** The agents of the demo: one for customers' questions, one for figures. */
export const demoAgents: readonly EmulatedAgent[] = [
  {
    agentId: 'AGSUPPORT1',
    aliasIds: ['ALSUPPORT1', 'ALSUPPORT2'],
    name: 'support',
    model: 'amazon.nova-lite-v1:0',
    knowledgeBaseIds: ['KBSUPPORT1'],
  },
  {
    agentId: 'AGANALYST1',
    aliasIds: ['ALANALYST1'],
    name: 'analyst',
    model: 'anthropic.claude-sonnet-4-5-20250929-v1:0',
    knowledgeBaseIds: ['KBANALYST1'],
  },
];

type Text = readonly [slug: string, title: string, text: string];

const passagesOf = (knowledgeBaseId: string, tenantId: string, texts: readonly Text[]): readonly Passage[] =>
  texts.map(([slug, title, text]) => ({
    knowledgeBaseId,
    tenantId,
    uri: `s3://demo-documents/${tenantId}/${knowledgeBaseId.toLowerCase()}/${slug}.md`,
    title,
    text,
  }));

/**
 * The documents of both demo tenants, in knowledge bases they share.
 *
 * The tenants answer the same questions with different facts, and each has a code word nobody else knows (MERIDIAN-FOX at acme,
 * COBALT-HERON at globex): text of one that reaches the other cannot be missed.
 */
export const demoPassages: readonly Passage[] = [
  ...passagesOf('KBSUPPORT1', 'acme', [
    [
      'refunds',
      'Acme refund policy',
      'Acme refunds unlit rockets and unused anvils in full within 30 days of delivery. A rocket whose fuse was lit cannot be returned. Refunds arrive on the original card within 5 working days.',
    ],
    [
      'shipping',
      'Acme shipping guide',
      'Acme ships gadgets by desert courier within 2 working days. Anvils above 100 kg travel by rail freight and take 9 days. Shipping is free from 250 dollars.',
    ],
    [
      'warranty',
      'Acme warranty terms',
      'Acme anvils carry a lifetime warranty against cracks. Rockets are covered for a single flight, and gadgets for 12 months. Falls from cliffs are not covered.',
    ],
    [
      'contact',
      'Acme contact and opening hours',
      'Reach Acme support at help@acme.example or +1 555 0100, Monday to Friday from 8 to 18 Mountain Time. The showroom at Café Mesa in Flagstaff opens on Saturdays.',
    ],
    [
      'rocket-sled',
      'Acme RX-9 rocket sled',
      'The RX-9 rocket sled reaches 310 km/h on rails and costs 4,900 dollars. It needs 40 m of clear track to brake. Goggles are part of the set.',
    ],
    [
      'internal-code-word',
      'Acme service code word',
      'The Acme service code word is MERIDIAN-FOX. Technicians ask for it before they open a rocket motor.',
    ],
  ]),
  ...passagesOf('KBSUPPORT1', 'globex', [
    [
      'refunds',
      'Globex refund policy',
      'Globex refunds smart-home devices within 14 days if they are reset to factory settings. Opened battery packs carry a restocking fee of 15 percent. Refunds are paid as account credit within 48 hours.',
    ],
    [
      'shipping',
      'Globex shipping guide',
      'Globex ships thermostats and meters overnight from Rotterdam. Home batteries come with an installer, usually after 3 weeks. Shipping costs 12 euros everywhere in Europe.',
    ],
    [
      'warranty',
      'Globex warranty terms',
      'Globex home batteries carry a 10-year warranty at 70 percent capacity. Thermostats and meters are covered for 24 months. Opening the sealed case ends the warranty.',
    ],
    [
      'contact',
      'Globex contact and opening hours',
      'Reach Globex care at care@globex.example or +31 20 555 0199, every day from 7 to 22 Central European Time. Emergencies with batteries are answered around the clock.',
    ],
    [
      'helio-battery',
      'Globex Helio 7 home battery',
      'The Helio 7 home battery stores 7.2 kWh and costs 5,450 euros installed. It powers an average house for about 11 hours. Up to 4 units work together.',
    ],
    [
      'internal-code-word',
      'Globex service code word',
      'The Globex service code word is COBALT-HERON. Installers ask for it before they unlock a battery.',
    ],
  ]),
  ...passagesOf('KBANALYST1', 'acme', [
    [
      'q1',
      'Acme figures, first quarter 2026',
      'Acme revenue in the first quarter of 2026 was 41.2 million dollars, up 6 percent. Anvils brought 18.0 million of it. The operating margin was 12.4 percent.',
    ],
    [
      'q2',
      'Acme figures, second quarter 2026',
      'Acme revenue in the second quarter of 2026 was 47.9 million dollars, up 11 percent. Rockets overtook anvils for the first time. The operating margin rose to 14.1 percent.',
    ],
    [
      'q3',
      'Acme figures, third quarter 2026',
      'Acme revenue in the third quarter of 2026 was 44.3 million dollars, down 3 percent after a rail strike. Returns fell to 2.1 percent of orders. The operating margin was 13.0 percent.',
    ],
    [
      'customers',
      'Acme customers and churn',
      'Acme served 3,180 customers in 2026, most of them in mining and film. Churn was 4.5 percent. The largest customer, a coyote in Arizona, accounts for 9 percent of revenue.',
    ],
    [
      'outlook',
      'Acme outlook',
      'Acme expects revenue of 180 million dollars for the whole of 2026. A second rocket line in Flagstaff opens in November. Steel prices are the main risk.',
    ],
  ]),
  ...passagesOf('KBANALYST1', 'globex', [
    [
      'q1',
      'Globex figures, first quarter 2026',
      'Globex revenue in the first quarter of 2026 was 128.6 million euros, up 19 percent. Home batteries brought 71.5 million of it. The operating margin was 8.2 percent.',
    ],
    [
      'q2',
      'Globex figures, second quarter 2026',
      'Globex revenue in the second quarter of 2026 was 139.0 million euros, up 22 percent. Thermostat sales doubled after the tariff change. The operating margin was 9.0 percent.',
    ],
    [
      'q3',
      'Globex figures, third quarter 2026',
      'Globex revenue in the third quarter of 2026 was 151.7 million euros, up 24 percent. Battery cells were 13 percent cheaper than a year before. The operating margin rose to 10.3 percent.',
    ],
    [
      'customers',
      'Globex customers and churn',
      'Globex counted 412,000 connected homes in 2026. Churn was 1.9 percent. The Netherlands and Denmark make up 58 percent of revenue.',
    ],
    [
      'outlook',
      'Globex outlook',
      'Globex expects revenue of 590 million euros for the whole of 2026. A plant in Aarhus starts in March 2027. Grid fees are the main risk.',
    ],
  ]),
];
