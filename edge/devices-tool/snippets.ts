/** What a device needs to know to connect. */
export interface Access {
  name: string
  password: string
  host: string
  port: number
  tls: boolean
}

/** How the products of docs/DEVICES.md are told; each may be copied as it stands. */
export function snippets(access: Access): string {
  return [
    ['Tasmota (console; a build with TLS)', tasmota(access)],
    ['ESPHome', espHome(access)],
    ['Shelly Gen2 and later (http://<the device>/rpc)', shelly(access)],
    ['Zigbee2MQTT (configuration.yaml)', zigbee2mqtt(access)],
    ['mosquitto_pub', mosquittoPub(access)],
    ['Python, paho-mqtt 2', paho(access)],
  ]
    .map(([title, text]) => `${title}:\n${indented(text as string)}`)
    .join('\n\n')
}

const authority = 'ca.crt'

function tasmota({ name, password, host, port, tls }: Access): string {
  const encrypted = `SetOption103 ${tls ? 1 : 0}; `
  return `Backlog ${encrypted}MqttHost ${host}; MqttPort ${port}; MqttClient ${name}; MqttUser ${name}; MqttPassword ${password}; Topic ${name}`
}

function espHome({ name, password, host, port, tls }: Access): string {
  const lines = [
    'mqtt:',
    `  broker: ${host}`,
    `  port: ${port}`,
    `  client_id: ${name}`,
    `  username: ${name}`,
    `  password: ${password}`,
    `  topic_prefix: devices/${name}`,
    '  discovery: false',
  ]
  return [
    ...lines,
    ...(tls ? [`  certificate_authority: !secret mqtt_ca # the text of ${authority}`] : []),
  ].join('\n')
}

function shelly({ name, password, host, port, tls }: Access): string {
  const config = {
    enable: true,
    server: `${host}:${port}`,
    client_id: name,
    user: name,
    pass: password,
    ssl_ca: tls ? 'user_ca.pem' : null,
    topic_prefix: `devices/${name}`,
    rpc_ntf: true,
    status_ntf: true,
  }
  return JSON.stringify({ id: 1, method: 'MQTT.SetConfig', params: { config } })
}

function zigbee2mqtt({ name, password, host, port, tls }: Access): string {
  const lines = [
    'mqtt:',
    `  server: ${tls ? 'mqtts' : 'mqtt'}://${host}:${port}`,
    `  base_topic: devices/${name}/zigbee2mqtt`,
    `  client_id: ${name}`,
    `  user: ${name}`,
    `  password: ${password}`,
    '  version: 4',
  ]
  return [...lines, ...(tls ? [`  ca: /app/data/${authority}`] : [])].join('\n')
}

function mosquittoPub({ name, password, host, port, tls }: Access): string {
  const secured = tls ? ` --cafile ${authority}` : ''
  return `mosquitto_pub -h ${host} -p ${port}${secured} -i ${name} -u ${name} -P ${password} -q 1 -t devices/${name}/events/com.acme.climate -m '{"temperature":21.5}'`
}

function paho({ name, password, host, port, tls }: Access): string {
  return [
    'import paho.mqtt.client as mqtt',
    `client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="${name}")`,
    `client.username_pw_set("${name}", "${password}")`,
    ...(tls ? [`client.tls_set(ca_certs="${authority}")`] : []),
    `client.connect("${host}", ${port})`,
    'client.loop_start()',
    `client.publish("devices/${name}/events/com.acme.climate", '{"temperature":21.5}', qos=1).wait_for_publish()`,
  ].join('\n')
}

function indented(text: string): string {
  return text
    .split('\n')
    .map((line) => `  ${line}`)
    .join('\n')
}
